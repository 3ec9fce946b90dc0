//! `logboom bench`: measures a server, one that runs or one of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use loadgen::scenario::{Plan, Scenario, run as run_scenario};
use loadgen::server::Server;

use crate::Failure;
use crate::cli;
use crate::client::Address;

pub fn run(options: &cli::Bench) -> Result<ExitCode, Failure> {
    let scenarios: Vec<Scenario> = match options.scenario.as_str() {
        "all" => Scenario::ALL.to_vec(),
        name => vec![*Scenario::ALL.iter().find(|known| known.name() == name).ok_or_else(|| unknown(name))?],
    };
    let plan = Plan {
        records: options.records,
        connections: options.connections,
        body_bytes: options.body_kib.max(1) * 1024,
        rate: options.rate,
        time: Duration::from_secs(options.seconds),
        viewers: options.viewers,
        seed: options.seed,
        file: options.file.clone(),
    };
    let mut sound = true;
    for scenario in scenarios {
        // Each scenario has a server of its own, so that none pays for the rows of another.
        let server = match &options.url {
            Some(url) => Server::running(&Address::parse(url)?.authority, options.pid)?,
            None => Server::start(&std::env::current_exe()?, &folder(options), &options.server_flags)?,
        };
        for report in run_scenario(scenario, &plan, &server)? {
            sound &= report.is_sound();
            match options.json {
                true => println!("{}", report.json()),
                false => println!("{}", report.text()),
            }
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the server's data goes: not /tmp, which is often memory, where syncing costs nothing.
fn folder(options: &cli::Bench) -> PathBuf {
    options.folder.clone().unwrap_or_else(|| PathBuf::from("target/bench"))
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
    format!("there is no scenario `{name}`; there are all, {}", names.join(", "))
}
