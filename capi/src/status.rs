//! What calls return, and the words behind it.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use convgemm::Error;

/// The call did what it had to.
pub const CONVGEMM_OK: i32 = 0;
/// A pointer is null where there has to be something, or is not aligned.
pub const CONVGEMM_BAD_POINTER: i32 = 1;
/// A parameter, or a combination of them, describes no convolution.
pub const CONVGEMM_BAD_ARGUMENT: i32 = 2;
/// A tensor has the wrong number of elements.
pub const CONVGEMM_WRONG_LENGTH: i32 = 3;
/// The layer is of the other element type.
pub const CONVGEMM_WRONG_TYPE: i32 = 4;
/// There is no memory, or no thread, left.
pub const CONVGEMM_OUT_OF_MEMORY: i32 = 5;
/// A defect of the library; what the call was to write is not specified.
pub const CONVGEMM_PANIC: i32 = 6;

/// What went wrong: a code and the words for it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: i32,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::WrongLength { .. } => CONVGEMM_WRONG_LENGTH,
            Error::OutOfMemory { .. } => CONVGEMM_OUT_OF_MEMORY,
            _ => CONVGEMM_BAD_ARGUMENT,
        };
        Self::new(code, error.to_string())
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// What was wrong with the last call of this thread that failed; empty where none has.
///
/// The text belongs to the library and stays as it is until the next call of this thread fails or the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn convgemm_last_error() -> *const c_char {
    LAST.with_borrow(|last| last.as_deref().unwrap_or(c"").as_ptr())
}

/// Calls `f` and turns what becomes of it into a code.
pub(crate) fn report(f: impl FnOnce() -> Result<()>) -> i32 {
    // What a panic interrupts is not seen again: contexts drop their scratch, layers do not change.
    let failure = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(())) => return CONVGEMM_OK,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Failure::new(CONVGEMM_PANIC, format!("a defect of the library: {words}"))
        }
    };
    let message = failure.message.replace('\0', " ");
    LAST.set(CString::new(message).ok());
    failure.code
}
