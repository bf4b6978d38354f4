//! What calls work in: threads and scratch.

use convgemm::{Parallelism, Workspace};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::memory::put;
use crate::status::{CONVGEMM_OUT_OF_MEMORY, Failure, Result, report};

/// Threads and memory for one call at a time, of any layer. The memory grows to what the largest call needs, at most 1 MiB for
/// each thread (2 MiB where Winograd's tiles are allowed), packed weights of gradients aside; a call whose extents it has seen
/// allocates nothing.
pub struct Context {
    parallelism: Parallelism,
    /// None: the pool that the caller is in, else the global one.
    pool: Option<ThreadPool>,
    workspace: Workspace,
}

impl Context {
    fn new(threads: usize) -> Result<Self> {
        let pool = match threads {
            0 | 1 => None,
            _ => {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build();
                Some(pool.map_err(|error| Failure::new(CONVGEMM_OUT_OF_MEMORY, error.to_string()))?)
            }
        };
        let parallelism = if threads == 1 { Parallelism::Serial } else { Parallelism::Rayon };
        Ok(Self { parallelism, pool, workspace: Workspace::new() })
    }

    /// Calls `work` in the context's threads, with its memory.
    pub(crate) fn run(
        &mut self,
        work: impl FnOnce(Parallelism, &mut Workspace) -> Result<()> + Send,
    ) -> Result<()> {
        let Self { parallelism, pool, workspace } = self;
        match pool {
            Some(pool) => pool.install(|| work(*parallelism, workspace)),
            None => work(*parallelism, workspace),
        }
    }
}

/// Makes a context. `threads` is 1 for the calling thread alone, 0 for a pool of as many threads as the machine has, which all such
/// contexts share, or the number of threads of a pool of its own. Results have the same bytes for any number.
///
/// # Safety
/// `context` is null or points to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_context_create(threads: usize, context: *mut *mut Context) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe { put("context", context, || Ok(Box::into_raw(Box::new(Context::new(threads)?)))) }
    })
}

/// Gives a context back, after its threads have ended. Null is none.
///
/// # Safety
/// `context` is null or what `convgemm_context_create` gave, which nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_context_destroy(context: *mut Context) {
    if !context.is_null() {
        // SAFETY: it was made by `Box::into_raw`, as the caller vouches.
        let context = unsafe { Box::from_raw(context) };
        report(|| {
            drop(context);
            Ok(())
        });
    }
}
