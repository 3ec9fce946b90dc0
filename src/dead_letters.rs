//! `logboom dead-letters`: what Postgres has refused: to look at, to try again, to throw away.

use std::io::Write;
use std::process::ExitCode;

use engine::store::postgres::dead_letters::{self, Which};
use engine::store::postgres::{Client, PostgresError};
use record::Id;

use crate::Failure;
use crate::cli::{DeadLetters, ListLetters, WhichLetters};
use crate::config::Settings;
use crate::migrate::{on_runtime, target};

pub fn run(settings: &Settings, options: &DeadLetters) -> Result<ExitCode, Failure> {
    let target = target(settings)?;
    on_runtime(async {
        let connect = || async {
            let client = target.connect("logboom/dead-letters").await?;
            target.inspect().await?.for_reading()?;
            Ok::<Client, PostgresError>(client)
        };
        match options {
            DeadLetters::List(options) => list(&connect().await?, options).await,
            DeadLetters::Replay(options) => {
                let replayed = dead_letters::replay(&target, &which(options)?).await?;
                let dead_letters::Replayed { stored, known, refused } = replayed;
                writeln!(
                    std::io::stdout(),
                    "{stored} records stored, {known} had been stored before, {refused} were refused again"
                )?;
                Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            DeadLetters::Drop(options) => {
                let dropped = dead_letters::drop(&connect().await?, &which(options)?).await?;
                writeln!(std::io::stdout(), "{dropped} dead letters dropped")?;
                Ok(ExitCode::SUCCESS)
            }
        }
    })?
}

/// A line of JSON for each, the last refused first, as many as are asked for.
async fn list(client: &Client, options: &ListLetters) -> Result<ExitCode, Failure> {
    let mut cursor = None;
    let mut left = options.limit;
    while left > 0 {
        let page = dead_letters::list(client, left, cursor).await?;
        for letter in &page.dead_letters {
            let mut line = Vec::new();
            letter.write_json(&mut line);
            line.push(b'\n');
            std::io::stdout().write_all(&line)?;
        }
        left -= page.dead_letters.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    // Whoever pipes this wants the lines alone.
    eprintln!("{} dead letters in all", dead_letters::count(client).await?);
    Ok(ExitCode::SUCCESS)
}

fn which(options: &WhichLetters) -> Result<Which, Failure> {
    if options.all {
        return Ok(Which::All);
    }
    let read = |text: &String| Id::parse(text).ok_or_else(|| format!("`{text}` is no id: take it from the list"));
    Ok(Which::Ids(options.ids.iter().map(read).collect::<Result<_, String>>()?))
}
