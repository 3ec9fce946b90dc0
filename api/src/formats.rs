//! `GET /parse/formats` and `/parse/patterns`: what can be parsed, from the registry.

use record::format::{self, FormatInfo, registry};
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply;

use crate::answer::json_of;
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

pub fn formats(params: Params) -> Result<reply::Response, ApiError> {
    params.end()?;
    json_of(&Formats { formats: registry().iter().map(|parser| parser.info().into()).collect() })
}

#[derive(Serialize, ToSchema)]
pub struct Patterns {
    /// Regular and grok expressions by name: the built-in ones, then those of the settings.
    patterns: Vec<Format>,
}

pub fn patterns(params: Params) -> Result<reply::Response, ApiError> {
    params.end()?;
    let built_in = format::patterns().iter().map(|pattern| &pattern.info);
    let installed = format::installed().iter().map(|parser| parser.info());
    json_of(&Patterns { patterns: built_in.chain(installed).map(Format::from).collect() })
}
