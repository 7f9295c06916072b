//! Work on many small operators at a time.

use std::sync::Mutex;

use rayon::ThreadPoolBuilder;

/// What `work` makes of each of the parts, which it gets with their places; in the order of the parts. The threads of the pool
/// are shared out: where all of them worked on one small part at a time, most would wait. Parts are begun in their
/// order, so the ones that take longest should come first.
pub fn side_by_side<I: Send, R: Send>(
    parts: Vec<I>,
    work: impl Fn(usize, I) -> R + Sync,
) -> Vec<R> {
    let threads = rayon::current_num_threads();
    let workers = threads.min(parts.len()).max(1);
    let results = Mutex::new(Vec::with_capacity(parts.len()));
    let queue = Mutex::new(parts.into_iter().enumerate());
    let next = || queue.lock().ok()?.next();
    let run = || {
        while let Some((i, part)) = next() {
            let result = work(i, part);
            if let Ok(mut results) = results.lock() {
                results.push((i, result));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            // A pool of its own: a thread that waits must not take up another part in the middle of one.
            let pool = ThreadPoolBuilder::new().num_threads(threads / workers);
            match pool.build() {
                Ok(pool) => drop(scope.spawn(move || pool.install(run))),
                // Without more threads this one does it all.
                Err(_) => run(),
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    results.sort_by_key(|&(i, _)| i);
    results.into_iter().map(|(_, result)| result).collect()
}
