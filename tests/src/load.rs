//! Requests that go on in the background, and what became of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinHandle;

use crate::eventually;

/// What one request saw: status and backend, or no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub status: u16,
    pub backend: String,
}

/// Closed-loop load from a few tasks until it is stopped; bounded in count.
pub struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Vec<(std::time::Instant, Seen)>>>,
}

/// A client that comes anew all the time, one connection for each request.
pub struct Visitors {
    failed: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

const MOST: usize = 200_000;

// === impl Load ===

impl Load {
    /// Asks for `url` again and again.
    pub fn start(client: &reqwest::Client, url: &str, headers: &[(&'static str, String)], tasks: usize) -> Load {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..tasks)
            .map(|_| {
                let (client, url, headers) = (client.clone(), url.to_owned(), headers.to_vec());
                let (stop, answers) = (stop.clone(), answers.clone());
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while !stop.load(Ordering::Relaxed) && seen.len() < MOST {
                        let mut request = client.get(&url);
                        for (name, value) in &headers {
                            request = request.header(*name, value);
                        }
                        let started = std::time::Instant::now();
                        let answer = match request.send().await {
                            Ok(response) => {
                                let status = response.status().as_u16();
                                let body = response.json::<serde_json::Value>().await.unwrap_or_default();
                                Seen { status, backend: body["backend"].as_str().unwrap_or_default().to_owned() }
                            }
                            Err(error) => Seen { status: 0, backend: format!("{error:?}") },
                        };
                        seen.push((started, answer));
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    seen
                })
            })
            .collect();
        Load { stop, answers, tasks }
    }

    /// Waits until there are `more` answers than now.
    pub async fn answers(&self, more: usize) {
        let wanted = self.answers.load(Ordering::Relaxed) + more;
        eventually("the load goes on", async || (self.answers.load(Ordering::Relaxed) >= wanted).then_some(())).await;
    }

    /// Stops, and tells what was seen, with the time each request was sent.
    ///
    /// # Panics
    /// When a task did.
    pub async fn stop(self) -> Vec<(std::time::Instant, Seen)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.expect("the task ends"));
        }
        all
    }
}

// === impl Visitors ===

impl Visitors {
    pub fn of(client: impl Fn() -> reqwest::Client + Send + 'static, url: String) -> Visitors {
        let (failed, served, enough) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (failures, successes, end) = (failed.clone(), served.clone(), enough.clone());
        let task = tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                let answer = client().get(&url).send().await;
                let counter = if answer.is_ok_and(|answer| answer.status() == 200) { &successes } else { &failures };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Visitors { failed, served, enough, task }
    }

    /// Waits until so many `more` were served.
    pub async fn served(&self, more: usize) {
        let wanted = self.served.load(Ordering::Relaxed) + more;
        eventually("visitors come", async || (self.served.load(Ordering::Relaxed) >= wanted).then_some(())).await;
    }

    /// Ends them, and tells how many were not served.
    ///
    /// # Panics
    /// When the task did.
    pub async fn failures(self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.expect("the task ends");
        self.failed.load(Ordering::Relaxed)
    }
}

/// How often each answer was seen.
pub fn tally(seen: &[(std::time::Instant, Seen)]) -> BTreeMap<Seen, usize> {
    seen.iter().fold(BTreeMap::new(), |mut counts, (_, seen)| {
        *counts.entry(seen.clone()).or_default() += 1;
        counts
    })
}
