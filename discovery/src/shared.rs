//! What several follow is asked about once, and no longer than somebody does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Ends when it is dropped.
pub(crate) struct Task(tokio::task::AbortHandle);

pub(crate) struct Shared<V> {
    runtime: Handle,
    followed: Mutex<Followed<V>>,
}

struct Followed<V> {
    by_name: HashMap<Arc<str>, Weak<Feed<V>>>,
    /// How many may be in it before those are looked for that nobody follows any more.
    sweep_at: usize,
}

struct Feed<V> {
    said: watch::Receiver<V>,
    _task: Task,
}

/// A name that is followed as long as this is held.
pub(crate) struct Following<V> {
    pub said: watch::Receiver<V>,
    _feed: Arc<Feed<V>>,
}

const FIRST_SWEEP: usize = 64;

// === impl Task ===

impl Task {
    pub(crate) fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(runtime.spawn(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Shared ===

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    pub(crate) fn new(runtime: &Handle) -> Shared<V> {
        let followed = Followed { by_name: HashMap::new(), sweep_at: FIRST_SWEEP };
        Shared { runtime: runtime.clone(), followed: Mutex::new(followed) }
    }

    /// `begin` is asked for the work if nobody follows `name` yet.
    pub(crate) fn follow<F>(
        &self,
        name: &str,
        initial: V,
        begin: impl FnOnce(Arc<str>, watch::Sender<V>) -> F,
    ) -> Following<V>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = followed.by_name.get(name).and_then(Weak::upgrade) {
            return Following { said: feed.said.clone(), _feed: feed };
        }
        if followed.by_name.len() >= followed.sweep_at {
            followed.by_name.retain(|_, feed| feed.strong_count() > 0);
            followed.sweep_at = (followed.by_name.len() * 2).max(FIRST_SWEEP);
        }
        let (sender, said) = watch::channel(initial);
        let name: Arc<str> = name.into();
        let task = Task::spawn(&self.runtime, begin(name.clone(), sender));
        let feed = Arc::new(Feed { said, _task: task });
        followed.by_name.insert(name, Arc::downgrade(&feed));
        Following { said: feed.said.clone(), _feed: feed }
    }
}

impl<V> Following<V> {
    /// When something else is said.
    pub(crate) async fn changed(&mut self) {
        if self.said.changed().await.is_err() {
            // Whoever would say it has ended, as nobody should.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Running(Arc<AtomicUsize>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_name_is_followed_once_and_not_longer_than_it_is_wanted() {
        let (started, running) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let shared = Shared::new(&Handle::current());
        let follow = |name: &str| {
            shared.follow(name, 0_usize, |_, sender| {
                let number = started.fetch_add(1, Ordering::SeqCst) + 1;
                running.fetch_add(1, Ordering::SeqCst);
                let own = Running(running.clone());
                async move {
                    let _own = own;
                    sender.send_replace(number);
                    std::future::pending::<()>().await;
                }
            })
        };
        let (mut one, mut two) = (follow("a"), follow("a"));
        one.said.changed().await.unwrap();
        two.said.changed().await.unwrap();
        assert_eq!((*one.said.borrow(), *two.said.borrow()), (1, 1));
        drop(one);
        tokio::task::yield_now().await;
        assert_eq!(running.load(Ordering::SeqCst), 1);
        drop(two);
        while running.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*follow("a").said.wait_for(|number| *number > 0).await.unwrap(), 2);
        for number in 0..10 * FIRST_SWEEP {
            drop(follow(&number.to_string()));
        }
        assert!(shared.followed.lock().unwrap().by_name.len() <= FIRST_SWEEP + 1);
    }
}
