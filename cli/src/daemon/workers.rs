//! Slow questions of the core, answered on threads of their own: private-key operations and certificate verdicts.

use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use ike::event::Input;
use tokio::sync::mpsc::UnboundedSender;

type Work = Box<dyn FnOnce() -> Input + Send>;

/// Threads that take work in turn. They end when this is dropped and the work under way is done.
#[derive(Debug)]
pub struct Workers {
    queue: mpsc::Sender<Work>,
    answers: UnboundedSender<Input>,
}

impl Workers {
    /// Starts `count` threads; their answers go into `answers`. The queue needs no bound of its own: the core bounds
    /// the exchanges that may have a question open.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(count: usize, answers: &UnboundedSender<Input>) -> io::Result<Self> {
        let (queue, work) = mpsc::channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        for number in 0..count.max(1) {
            let (work, answers) = (Arc::clone(&work), answers.clone());
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || serve(&work, &answers))?;
        }
        Ok(Self { queue, answers: answers.clone() })
    }

    /// Starts more threads with a queue of their own, for work that must not hold up this one's.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn beside(&self, count: usize) -> io::Result<Self> {
        Self::start(count, &self.answers)
    }

    /// Has `work` done; its result reaches the core as an input.
    pub fn submit(&self, work: impl FnOnce() -> Input + Send + 'static) {
        // The threads live as long as the queue does.
        let _unreachable = self.queue.send(Box::new(work));
    }
}

fn serve(queue: &Mutex<mpsc::Receiver<Work>>, answers: &UnboundedSender<Input>) {
    loop {
        let next = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_poisoned) => return,
        };
        let Ok(work) = next else { return };
        if answers.send(work()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use ike::event::JobId;

    use super::*;

    #[test]
    fn every_question_is_answered_once() {
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let workers = Workers::start(2, &answers).unwrap();
        for job in 0..100 {
            workers.submit(move || Input::Signed { job: JobId(job), result: Ok(vec![]) });
        }
        let mut jobs: Vec<u64> = (0..100)
            .map(|_| match answered.blocking_recv() {
                Some(Input::Signed { job, .. }) => job.0,
                other => panic!("{other:?}"),
            })
            .collect();
        jobs.sort_unstable();
        assert!(jobs.into_iter().eq(0..100));
    }
}
