//! A small pool of threads for loops of known length.
//!
//! Workers spin for a short while between the loops of a run and sleep when nothing comes, so that a loop costs a
//! microsecond or two to start. Each thread begins with its own share of the indices and takes from the others' when it
//! is done: the same thread meets the same rows from loop to loop while a slow thread holds nobody up.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Rounds of spinning before a worker sleeps: some tens of microseconds.
const SPIN: u32 = 20_000;

/// A share of the indices; a cache line of its own.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Share {
    next: AtomicUsize,
    end: AtomicUsize,
}

/// The body of a loop: index, thread.
type Body<'a> = &'a (dyn Fn(usize, usize) + Sync);

#[derive(Debug)]
struct Shared {
    shares: Vec<Share>,
    /// The loop that is running. Written by the caller while no worker is in a loop.
    body: UnsafeCell<Option<Body<'static>>>,
    /// Counts loops; odd values do not occur.
    epoch: AtomicUsize,
    /// Workers that have not finished the current loop.
    busy: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    /// How many workers sleep.
    asleep: Mutex<usize>,
    wake: Condvar,
}

// SAFETY: `body` is written by the thread that holds `Threads::gate` while `busy` is 0, and read by workers after they
// have seen the new `epoch` (release, acquire) and before they lower `busy`.
unsafe impl Sync for Shared {}
// SAFETY: as for `Sync`; the body is only used within the call that lends it.
unsafe impl Send for Shared {}

/// The pool. Its calls may come from several threads at once: one uses the workers, the others do without.
#[derive(Debug)]
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    gate: Mutex<()>,
}

impl Threads {
    /// A pool in which `threads` threads work, the calling one included.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(threads: usize) -> std::io::Result<Threads> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            shares: (0..threads).map(|_| Share::default()).collect(),
            body: UnsafeCell::new(None),
            epoch: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
        });
        let mut pool = Threads { shared, workers: Vec::new(), gate: Mutex::new(()) };
        for thread in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker =
                std::thread::Builder::new().name(format!("netc-{thread}")).spawn(move || work(&shared, thread))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// How many threads work, the calling one included.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body(index, thread)` once for every index below `count`, on all threads. `thread` is below
    /// [`count`](Self::count) and no two calls with the same one run at once, within this loop.
    ///
    /// # Panics
    /// When the body has panicked.
    pub fn run(&self, count: usize, body: impl Fn(usize, usize) + Sync) {
        let gate = if 1 < count && !self.workers.is_empty() { self.gate.try_lock().ok() } else { None };
        if gate.is_none() {
            (0..count).for_each(|index| body(index, 0));
            return;
        }
        let shared = &*self.shared;
        let threads = shared.shares.len();
        for (thread, share) in shared.shares.iter().enumerate() {
            share.next.store(count * thread / threads, Ordering::Relaxed);
            share.end.store(count * (thread + 1) / threads, Ordering::Relaxed);
        }
        let body: Body = &body;
        // SAFETY: the longer lifetime is not used: this call returns, or unwinds, only after all workers have finished
        // the loop, as `Finish` waits for. No worker reads `body` now, since `busy` is 0.
        unsafe { *shared.body.get() = Some(std::mem::transmute::<Body<'_>, Body<'static>>(body)) };
        shared.busy.store(threads - 1, Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        if *shared.asleep.lock().unwrap_or_else(PoisonError::into_inner) != 0 {
            shared.wake.notify_all();
        }
        let finish = Finish(shared);
        take(shared, body, 0);
        drop(finish);
        drop(gate);
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a loop has panicked on another thread");
    }
}

/// Waits until no worker is in the loop, also when the caller's part of it unwinds.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut rounds = 0u32;
        while self.0.busy.load(Ordering::Acquire) != 0 {
            rounds += 1;
            if rounds.is_multiple_of(1024) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

/// Works off the indices of one thread's share, then of the others'.
fn take(shared: &Shared, body: Body, thread: usize) {
    let threads = shared.shares.len();
    for other in 0..threads {
        let share = &shared.shares[(thread + other) % threads];
        let end = share.end.load(Ordering::Relaxed);
        loop {
            let index = share.next.fetch_add(1, Ordering::Relaxed);
            if end <= index {
                break;
            }
            body(index, thread);
        }
    }
}

fn work(shared: &Shared, thread: usize) {
    let mut seen = 0;
    while let Some(epoch) = next_loop(shared, seen) {
        seen = epoch;
        // SAFETY: the epoch has changed, so the caller has written the body and waits until `busy` is lowered.
        if let Some(body) = unsafe { *shared.body.get() }
            && std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| take(shared, body, thread))).is_err()
        {
            shared.panicked.store(true, Ordering::Relaxed);
        }
        shared.busy.fetch_sub(1, Ordering::Release);
    }
}

/// Waits for the epoch behind `seen`; `None` when the pool ends.
fn next_loop(shared: &Shared, seen: usize) -> Option<usize> {
    let ready = || {
        let epoch = shared.epoch.load(Ordering::SeqCst);
        (epoch != seen || shared.stop.load(Ordering::Relaxed)).then_some(epoch)
    };
    let spun = (0..SPIN).find_map(|_| {
        std::hint::spin_loop();
        ready()
    });
    let epoch = spun.unwrap_or_else(|| {
        let mut asleep = shared.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep += 1;
        loop {
            // The caller raises the epoch before it takes the lock, so it is either seen here or followed by a call.
            if let Some(epoch) = ready() {
                *asleep -= 1;
                return epoch;
            }
            asleep = shared.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
    });
    (!shared.stop.load(Ordering::Relaxed)).then_some(epoch)
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.asleep.lock());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
