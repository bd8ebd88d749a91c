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

/// How often each answer was seen.
pub fn tally(seen: &[(std::time::Instant, Seen)]) -> BTreeMap<Seen, usize> {
    seen.iter().fold(BTreeMap::new(), |mut counts, (_, seen)| {
        *counts.entry(seen.clone()).or_default() += 1;
        counts
    })
}
