//! Buffers that are kept between actions.

use std::sync::Mutex;

/// A pool of work buffers: an action takes one and gives it back, so that only the first action
/// on each thread allocates.
pub(crate) struct Pool<B> {
    free: Mutex<Vec<B>>,
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self {
            free: Mutex::new(Vec::new()),
        }
    }
}

/// A copy of an operator starts with an empty pool: buffers are never shared.
impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<B> Pool<B> {
    /// Runs `work` with a kept buffer, or with a new one when all are in use.
    pub(crate) fn with<R>(&self, new: impl FnOnce() -> B, work: impl FnOnce(&mut B) -> R) -> R {
        let mut buffer = self.lock().pop().unwrap_or_else(new);
        let result = work(&mut buffer);
        self.lock().push(buffer);
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<B>> {
        // A panic while the lock is held cannot leave the vector in a bad state.
        self.free
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
