//! `logboom config`: what is in force, and from where.

use std::io::Write;
use std::process::ExitCode;

use super::{Config, SETTINGS, Settings};
use crate::{Failure, cli};

pub fn print(config: &Config, options: &cli::Config) -> Result<ExitCode, Failure> {
    let text = match options {
        cli::Config { markdown: true, .. } => markdown(),
        cli::Config { toml: true, .. } => as_toml(config),
        _ => table(config),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    for warning in &config.warnings {
        eprintln!("logboom: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn table(config: &Config) -> String {
    let mut out = String::new();
    for setting in SETTINGS {
        let value = (setting.show)(&config.settings);
        out.push_str(&format!("{:22} {value:24} {}\n", setting.key, config.from(setting)));
    }
    out
}

fn as_toml(config: &Config) -> String {
    let mut out = String::new();
    let mut section = "";
    for setting in SETTINGS {
        if section != setting.section {
            section = setting.section;
            out.push_str(&format!("{}# {section}\n\n", if out.is_empty() { "" } else { "\n" }));
        }
        let value = (setting.show)(&config.settings).replace('\\', "\\\\").replace('"', "\\\"");
        out.push_str(&format!("# {}\n{} = \"{value}\"\n", setting.help, setting.key));
    }
    out
}

/// The settings as tables, one a section: what `docs/CONFIGURATION.md` holds.
fn markdown() -> String {
    let machine = "half the cores";
    let mut out = String::new();
    let mut section = "";
    for setting in SETTINGS {
        if section != setting.section {
            section = setting.section;
            let head = "| `logboom.toml` | variable | flag | default | |\n|---|---|---|---|---|\n";
            out.push_str(&format!("{}## {section}\n\n{head}", if out.is_empty() { "" } else { "\n" }));
        }
        let default = match (setting.key, (setting.show)(&Settings::default())) {
            ("shards", _) => machine.to_owned(),
            (_, text) if text.is_empty() => "none".to_owned(),
            (_, text) => format!("`{text}`"),
        };
        let value = setting.value.replace('|', "\\|");
        let (key, env, flag, help) = (setting.key, setting.env, setting.flag(), setting.help);
        out.push_str(&format!("| `{key}` | `{env}` | `--{flag} {value}` | {default} | {help} |\n"));
    }
    out
}
