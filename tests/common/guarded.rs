//! Memory that ends, or starts, where nothing may be touched: a process that does is killed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_char, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variable that says where the forbidden memory is: `before`, or else behind.
pub const SIDE_VARIABLE: &str = "CONVGEMM_TEST_GUARD";

/// A multiple of every page size.
const PAGE: usize = 1 << 16;

/// Mappings of up to so many pages are kept to be used again.
const KEPT_PAGES: usize = 64;

unsafe extern "C" {
    fn mmap(at: *mut c_void, len: usize, access: i32, flags: i32, file: i32, offset: isize) -> *mut c_void;
    fn mprotect(at: *mut c_void, len: usize, access: i32) -> i32;
    fn munmap(at: *mut c_void, len: usize) -> i32;
    fn getenv(name: *const c_char) -> *const c_char;
}

/// Where the forbidden memory is that an allocation touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    Behind,
}

impl Side {
    /// That of this process.
    pub fn get() -> Self {
        /// 0 until it is known.
        static KNOWN: AtomicUsize = AtomicUsize::new(0);
        // Not through `std::env`, which allocates.
        let read = || {
            let name = c"CONVGEMM_TEST_GUARD";
            debug_assert_eq!(name.to_bytes(), SIDE_VARIABLE.as_bytes());
            // SAFETY: a string that ends in 0; the first byte of one is there to be read.
            unsafe { getenv(name.as_ptr()).as_ref() }.is_some_and(|&first| first == b'b' as c_char)
        };
        let mut known = KNOWN.load(Ordering::Relaxed);
        if known == 0 {
            known = 1 + usize::from(read());
            KNOWN.store(known, Ordering::Relaxed);
        }
        if known == 2 { Self::Before } else { Self::Behind }
    }

    /// Where in `room` bytes an allocation lies. Behind it are as many bytes as its alignment needs: none, where its size is a multiple.
    fn offset(self, layout: Layout, room: usize) -> usize {
        match self {
            Self::Before => 0,
            Self::Behind => (room - layout.size()) & !(layout.align() - 1),
        }
    }
}

/// An allocator that puts everything beside forbidden memory, on the process's [`Side`]; what was freed may be handed out again.
pub struct Guarding;

impl Guarding {
    /// Bytes between the forbidden pages around an allocation, if it is one of this allocator's.
    fn room(layout: Layout) -> Option<usize> {
        // Mappings are aligned to the smallest page.
        (layout.align() <= 4096).then(|| layout.size().next_multiple_of(PAGE))
    }
}

/// The first of the mappings that were freed, by their size; each holds the address of the next.
static FREED: [Mutex<usize>; KEPT_PAGES + 1] = [const { Mutex::new(0) }; KEPT_PAGES + 1];

/// A mapping that was freed, or a new one between forbidden pages; null where there is no memory.
fn map(room: usize) -> *mut u8 {
    if let Some(freed) = FREED.get(room / PAGE) {
        let mut freed = freed.lock().unwrap();
        if *freed != 0 {
            let base = std::ptr::with_exposed_provenance_mut::<usize>(*freed);
            // SAFETY: `unmap` wrote there, and nothing else has had this mapping since.
            *freed = unsafe { base.read() };
            return base.cast();
        }
    }
    // SAFETY: a new private mapping that may not be accessed, but for what lies between its first and last page.
    unsafe {
        // PROT_NONE; MAP_PRIVATE | MAP_ANONYMOUS.
        let map = mmap(std::ptr::null_mut(), room + 2 * PAGE, 0, 0x22, -1, 0);
        if map.addr() == usize::MAX {
            return std::ptr::null_mut();
        }
        let base = map.byte_add(PAGE);
        // PROT_READ | PROT_WRITE.
        if mprotect(base, room, 3) == 0 { base.cast() } else { std::ptr::null_mut() }
    }
}

/// # Safety
/// `base` came from [`map`] with that `room`, and is not used any more.
unsafe fn unmap(base: *mut u8, room: usize) {
    if let Some(freed) = FREED.get(room / PAGE) {
        let mut freed = freed.lock().unwrap();
        // SAFETY: a whole page, which nothing uses.
        unsafe { base.cast::<usize>().write(*freed) };
        *freed = base.expose_provenance();
    } else {
        // SAFETY: all of a mapping.
        unsafe { munmap(base.byte_sub(PAGE).cast(), room + 2 * PAGE) };
    }
}

// SAFETY: an allocation is a part of a mapping that nothing else has until it is freed, aligned as asked for: the mapping is aligned to
// a page, and `offset` rounds down. Nothing here panics or allocates.
unsafe impl GlobalAlloc for Guarding {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(room) = Self::room(layout) else {
            // SAFETY: the caller's obligations are the same.
            return unsafe { System.alloc(layout) };
        };
        let base = map(room);
        if base.is_null() { base } else { base.wrapping_add(Side::get().offset(layout, room)) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match Self::room(layout) {
            // SAFETY: `alloc` put it so far behind the mapping's beginning.
            Some(room) => unsafe { unmap(at.sub(Side::get().offset(layout, room)), room) },
            // SAFETY: the caller's obligations are the same.
            None => unsafe { System.dealloc(at, layout) },
        }
    }
}
