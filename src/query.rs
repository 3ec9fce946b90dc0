//! `logboom query`: asks a running server, page by page or as one export, and prints what it finds.

use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;

use loadgen::http::Client;
use sonic_rs::{JsonValueTrait, LazyValue};

use crate::Failure;
use crate::cli::{self, QueryOutput};
use crate::client::{Address, ClientError, Printer, query_string, target};

/// Records asked for at once. Larger pages gain nothing, smaller ones ask more often.
const PAGE_RECORDS_MAX: u64 = 1_000;

pub fn run(options: &cli::Query) -> Result<ExitCode, Failure> {
    let address = Address::parse(&options.server.url)?;
    let mut pairs = query_string(&options.filters)?;
    for (name, value) in [("from", &options.from), ("to", &options.to)] {
        if let Some(value) = value {
            pairs.push((name.to_owned(), value.clone()));
        }
    }
    let connect = |source| ClientError::Connect { authority: address.authority.clone(), source };
    let client = Client::connect(&address.authority).map_err(connect)?;
    let mut asked = Asked { client, address };
    let text = options.format.map(|format| format == QueryOutput::Text);
    match (options.export, options.format) {
        (true, Some(QueryOutput::Csv)) => asked.export_csv(&pairs)?,
        (true, _) => asked.export(&pairs, Printer::new(text))?,
        (false, Some(QueryOutput::Csv)) => return Err("csv comes as one stream: add --export".into()),
        (false, _) => asked.pages(pairs, options.limit, Printer::new(text))?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Asked {
    client: Client,
    address: Address,
}

impl Asked {
    fn pages(&mut self, mut pairs: Vec<(String, String)>, limit: u64, mut printer: Printer) -> Result<(), Failure> {
        let mut left = limit;
        let filters = pairs.len();
        while left > 0 {
            pairs.push(("limit".to_owned(), left.min(PAGE_RECORDS_MAX).to_string()));
            let broken = broken(&self.address);
            let answer = self.client.get(&target("/logs/", &pairs)).map_err(&broken)?;
            let status = answer.status;
            let body = answer.text().map_err(&broken)?;
            check_status(&self.address, status, &body)?;
            let page: LazyValue =
                sonic_rs::from_str(&body).map_err(|error| broken(io::Error::other(error.to_string())))?;
            let mut count = 0;
            for log in page.get("logs").into_iter().filter_map(|logs| logs.into_array_iter()).flatten().flatten() {
                printer.print(log.as_raw_str())?;
                count += 1;
            }
            printer.flush()?;
            left = left.saturating_sub(count);
            let Some(cursor) = page.get("next_cursor").and_then(|cursor| cursor.as_str().map(str::to_owned)) else {
                break;
            };
            if count == 0 {
                break;
            }
            pairs.truncate(filters);
            pairs.push(("cursor".to_owned(), cursor));
        }
        Ok(())
    }

    fn export(&mut self, pairs: &[(String, String)], mut printer: Printer) -> Result<(), Failure> {
        let broken = broken(&self.address);
        let mut lines = BufReader::new(start(&mut self.client, &self.address, pairs, "ndjson")?);
        let mut line = String::new();
        while lines.read_line(&mut line).map_err(&broken)? > 0 {
            printer.print(line.trim_end())?;
            line.clear();
        }
        Ok(printer.flush()?)
    }

    fn export_csv(&mut self, pairs: &[(String, String)]) -> Result<(), Failure> {
        let broken = broken(&self.address);
        let mut lines = BufReader::new(start(&mut self.client, &self.address, pairs, "csv")?);
        let mut out = io::stdout().lock();
        loop {
            // Not io::copy, which could not tell a broken server from a closed pipe.
            let piece = lines.fill_buf().map_err(&broken)?;
            if piece.is_empty() {
                return Ok(out.flush()?);
            }
            out.write_all(piece)?;
            let length = piece.len();
            lines.consume(length);
        }
    }
}

fn start<'c>(
    client: &'c mut Client,
    address: &Address,
    pairs: &[(String, String)],
    format: &str,
) -> Result<loadgen::http::Answer<'c>, Failure> {
    let mut pairs = pairs.to_vec();
    pairs.push(("format".to_owned(), format.to_owned()));
    let answer = client.get(&target("/logs/export", &pairs)).map_err(broken(address))?;
    if answer.status != 200 {
        let status = answer.status;
        check_status(address, status, &answer.text().unwrap_or_default())?;
        return Err(
            ClientError::Refused { authority: address.authority.clone(), status, message: String::new() }.into()
        );
    }
    Ok(answer)
}

fn broken(address: &Address) -> impl Fn(io::Error) -> ClientError + use<> {
    let authority = address.authority.clone();
    move |error| ClientError::Broken { authority: authority.clone(), reason: error.to_string() }
}

fn check_status(address: &Address, status: u16, body: &str) -> Result<(), ClientError> {
    if status / 100 == 2 {
        return Ok(());
    }
    Err(ClientError::Refused { authority: address.authority.clone(), status, message: error_message(body) })
}

/// The message of an error answer; the body itself where it is none.
pub fn error_message(body: &str) -> String {
    let message = sonic_rs::get(body, sonic_rs::pointer!["error", "message"]);
    match message.ok().and_then(|message| message.as_str().map(str::to_owned)) {
        Some(message) => message,
        None => body.chars().take(200).collect(),
    }
}
