//! `GET /parse/formats` and `/parse/patterns`: what can be parsed, from the registry.

use record::format::{FormatInfo, registry};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, json_of};
use crate::error::ApiError;
use crate::params::Params;

#[derive(Serialize, ToSchema)]
pub struct Formats {
    formats: Vec<Format>,
}

/// A format, as `?format=` names it.
#[derive(Serialize, ToSchema)]
pub struct Format {
    #[schema(example = "json")]
    name: &'static str,
    title: &'static str,
    /// A line of it.
    example: &'static str,
    /// What it fills; metadata keys as `metadata.status`.
    fields: &'static [&'static str],
    /// Where it is defined.
    specification: &'static str,
}

impl From<&'static FormatInfo> for Format {
    fn from(info: &'static FormatInfo) -> Format {
        let FormatInfo { name, title, example, fields, specification } = *info;
        Format { name, title, example, fields, specification }
    }
}

pub fn formats(params: Params) -> Result<Answer, ApiError> {
    params.end()?;
    json_of(&Formats { formats: registry().iter().map(|parser| parser.info().into()).collect() })
}

#[derive(Serialize, ToSchema)]
pub struct Patterns {
    /// Lines are held to one by its name, as `?format=` has it.
    patterns: Vec<Pattern>,
    /// What grok expressions are made of.
    grok: Vec<GrokPattern>,
}

/// A pattern: predefined, or of the settings.
#[derive(Serialize, ToSchema)]
pub struct Pattern {
    #[serde(flatten)]
    format: Format,
    /// A regular expression whose named groups are fields, or a grok expression.
    expression: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct GrokPattern {
    #[schema(example = "LOGLEVEL")]
    name: &'static str,
    expression: &'static str,
}

pub fn patterns(params: Params) -> Result<Answer, ApiError> {
    params.end()?;
    let built_in = record::format::patterns().iter();
    let built_in = built_in.map(|pattern| Pattern { format: (&pattern.info).into(), expression: pattern.expression });
    // A pattern of the settings has its expression for its specification.
    let installed = record::format::installed().iter().map(|parser| parser.info());
    let installed = installed.map(|info| Pattern { format: info.into(), expression: info.specification });
    let grok = record::format::GROK_PATTERNS.iter();
    json_of(&Patterns {
        patterns: built_in.chain(installed).collect(),
        grok: grok.map(|&(name, expression)| GrokPattern { name, expression }).collect(),
    })
}
