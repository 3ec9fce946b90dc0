//! A worker's connection: made when it is needed, given up when it cannot be trusted, every failure counted.
//!
//! Comes in: pipelines. Goes out: an answer to each command, within [`ANSWER_MAX`], or what is wrong.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use super::counters::{Counters, Side, add};
use super::{GROUP, Keys, RedisError, Target};

/// An answer takes longer than this only from a server that hangs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(super) struct Line {
    target: Arc<Target>,
    counters: Arc<Counters>,
    connection: Option<MultiplexedConnection>,
    /// Whether an answer may have got lost, and with it what it held: also when a caller dropped its question.
    pub answer_lost: bool,
}

impl Line {
    pub fn new(target: Arc<Target>, counters: Arc<Counters>) -> Line {
        // A worker that had this name before may have lost one.
        Line { target, counters, connection: None, answer_lost: true }
    }

    /// Sends commands of which each must succeed.
    pub async fn ask(&mut self, pipeline: &mut Pipeline) -> Result<Vec<Value>, RedisError> {
        let answers: RedisResult<Vec<Value>> = self.ask_each(pipeline).await?.into_iter().collect();
        answers.map_err(|error| self.fail(&error))
    }

    /// Sends one command a stream. A stream without a group gets one; one that fails otherwise does not hold up the
    /// others.
    pub async fn ask_streams(
        &mut self,
        keys: &Keys,
        streams: &[u16],
        pipeline: &mut Pipeline,
    ) -> Result<Vec<(u16, Value)>, RedisError> {
        let mut answered = Vec::new();
        let mut failure = None;
        let mut groups = redis::pipe();
        for (&stream, answer) in streams.iter().zip(self.ask_each(pipeline).await?) {
            match answer {
                Ok(answer) => answered.push((stream, answer)),
                Err(error) if has_no_group(&error) => {
                    // From its first entry on, so that nothing that is there already is passed over.
                    groups.cmd("XGROUP").arg("CREATE").arg(keys.stream(stream)).arg(GROUP).arg("0").arg("MKSTREAM");
                }
                Err(error) => failure = Some(error),
            }
        }
        for made in self.ask_each(&mut groups).await? {
            match made {
                // A full server makes no groups; what has none holds nothing that was ever taken.
                Err(error) if !matches!(error.code(), Some("BUSYGROUP" | "OOM")) => failure = Some(error),
                _ => {}
            }
        }
        let Some(error) = failure else {
            self.counters.succeeded(Side::Take);
            return Ok(answered);
        };
        let error = self.fail(&error);
        if answered.is_empty() { Err(error) } else { Ok(answered) }
    }

    /// Sends commands; each has its own outcome.
    pub async fn ask_each(&mut self, pipeline: &mut Pipeline) -> Result<Vec<RedisResult<Value>>, RedisError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        if self.connection.is_none() {
            let connected = self.target.connect(ANSWER_MAX).await;
            self.connection = Some(connected.inspect_err(|error| self.tell(error))?);
            add(&self.counters.connects, 1);
        }
        let Some(connection) = &mut self.connection else { return Err(RedisError::Away(self.target.shown())) };
        let lost_before = std::mem::replace(&mut self.answer_lost, true);
        match pipeline.ignore_errors().query_async(connection).await {
            Ok(answers) => {
                self.answer_lost = lost_before;
                Ok(answers)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    /// An answer that is no answer to this command: what it held is not in hand.
    pub fn strange(&mut self, command: &str) -> RedisError {
        let error = RedisError::Refused(format!("{} does not answer {command} as Redis does", self.target.shown()));
        self.answer_lost = true;
        self.tell(&error);
        error
    }

    /// What an error means; the connection goes unless the server itself answered with it.
    fn fail(&mut self, error: &redis::RedisError) -> RedisError {
        let is_answer = error.code().is_some();
        let error = self.target.understand(error);
        // What was a master may be one no more: look its name up anew.
        if !is_answer || error == RedisError::ReadOnly {
            self.connection = None;
        }
        self.tell(&error);
        error
    }

    fn tell(&self, error: &RedisError) {
        add(&self.counters.take_failures, 1);
        self.counters.failed(Side::Take, error);
    }
}

fn has_no_group(error: &redis::RedisError) -> bool {
    // XINFO says so of a stream that is not there.
    let no_stream = || error.code() == Some("ERR") && error.detail().is_some_and(|text| text.contains("no such key"));
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) || no_stream()
}
