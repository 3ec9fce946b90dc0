//! Content codings (RFC 9110 §8.4.1): gzip, deflate and zstd, undone piece by piece, so that a body that grows a
//! thousandfold costs time and never memory.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, Operation};

/// What a body is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Coding {
    /// Reads a `Content-Encoding`; `None` when it is not known here.
    pub fn from_header(value: Option<&str>) -> Option<Coding> {
        let value = value.unwrap_or_default().trim();
        [("", Coding::Identity), ("identity", Coding::Identity), ("gzip", Coding::Gzip), ("x-gzip", Coding::Gzip)]
            .into_iter()
            .chain([("deflate", Coding::Deflate), ("zstd", Coding::Zstd)])
            .find_map(|(name, coding)| value.eq_ignore_ascii_case(name).then_some(coding))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    #[error("the body is not valid {0}")]
    Broken(&'static str),
    #[error("the body is cut within its {0} stream")]
    Cut(&'static str),
}

/// Undoes one coding. Input and output are whatever pieces the caller has.
pub struct Decoder {
    kind: Kind,
    /// Within a member or frame: the end of the body here is a cut.
    open: bool,
}

enum Kind {
    Identity,
    Gzip(Decompress),
    /// zlib or, as some clients send it, raw deflate: the first two bytes tell.
    Deflate {
        inflate: Option<Decompress>,
        first: Vec<u8>,
    },
    Zstd(Box<ZstdDecoder<'static>>),
}

/// How far one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub consumed: usize,
    pub produced: usize,
}

impl Decoder {
    pub fn new(coding: Coding) -> Result<Decoder, CodingError> {
        let kind = match coding {
            Coding::Identity => Kind::Identity,
            Coding::Gzip => Kind::Gzip(Decompress::new_gzip(15)),
            Coding::Deflate => Kind::Deflate { inflate: None, first: Vec::new() },
            Coding::Zstd => Kind::Zstd(Box::new(ZstdDecoder::new().map_err(|_| CodingError::Broken("zstd"))?)),
        };
        Ok(Decoder { kind, open: false })
    }

    pub fn is_identity(&self) -> bool {
        matches!(self.kind, Kind::Identity)
    }

    /// Decodes from `input` into `output`, as far as either goes. Call again while it produces or consumes anything.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, CodingError> {
        match &mut self.kind {
            Kind::Identity => {
                let length = input.len().min(output.len());
                output[..length].copy_from_slice(&input[..length]);
                Ok(Progress { consumed: length, produced: length })
            }
            Kind::Gzip(inflate) => inflate_some(inflate, input, output, &mut self.open, "gzip", |inflate| {
                *inflate = Decompress::new_gzip(15);
            }),
            Kind::Deflate { inflate, first } => {
                if let Some(inflate) = inflate {
                    return inflate_some(inflate, input, output, &mut self.open, "deflate", |inflate| {
                        *inflate = Decompress::new(true);
                    });
                }
                let take = input.len().min(2 - first.len());
                first.extend_from_slice(&input[..take]);
                self.open |= take > 0;
                if let [a, b] = first[..] {
                    let is_zlib = a & 0x0f == 8 && (u16::from(a) << 8 | u16::from(b)) % 31 == 0;
                    let mut fresh = Decompress::new(is_zlib);
                    // Two bytes of a deflate stream can end nothing and produce nothing.
                    fresh
                        .decompress(first, &mut [], FlushDecompress::None)
                        .map_err(|_| CodingError::Broken("deflate"))?;
                    *inflate = Some(fresh);
                }
                Ok(Progress { consumed: take, produced: 0 })
            }
            Kind::Zstd(decoder) => {
                if input.is_empty() && !self.open {
                    return Ok(Progress { consumed: 0, produced: 0 });
                }
                let status = decoder.run_on_buffers(input, output).map_err(|_| CodingError::Broken("zstd"))?;
                self.open = status.remaining != 0;
                Ok(Progress { consumed: status.bytes_read, produced: status.bytes_written })
            }
        }
    }

    /// To be asked once the body has ended and nothing more is produced.
    pub fn finish(&self) -> Result<(), CodingError> {
        match (&self.kind, self.open) {
            (_, false) | (Kind::Identity, _) => Ok(()),
            (Kind::Gzip(_), _) => Err(CodingError::Cut("gzip")),
            (Kind::Deflate { .. }, _) => Err(CodingError::Cut("deflate")),
            (Kind::Zstd(_), _) => Err(CodingError::Cut("zstd")),
        }
    }
}

fn inflate_some(
    inflate: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
    open: &mut bool,
    name: &'static str,
    restart: impl FnOnce(&mut Decompress),
) -> Result<Progress, CodingError> {
    if input.is_empty() && !*open {
        return Ok(Progress { consumed: 0, produced: 0 });
    }
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None).map_err(|_| CodingError::Broken(name))?;
    let progress = Progress {
        consumed: (inflate.total_in() - before_in) as usize,
        produced: (inflate.total_out() - before_out) as usize,
    };
    *open = true;
    if status == Status::StreamEnd {
        // Another member may follow (RFC 1952 §2.2).
        restart(inflate);
        *open = false;
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn decode(coding: Coding, wire: &[u8], piece: usize) -> Result<Vec<u8>, CodingError> {
        let mut decoder = Decoder::new(coding)?;
        let mut out = Vec::new();
        let mut buffer = [0; 100];
        for mut input in wire.chunks(piece) {
            loop {
                let progress = decoder.decode(input, &mut buffer)?;
                out.extend_from_slice(&buffer[..progress.produced]);
                input = &input[progress.consumed..];
                if progress.produced == 0 && (progress.consumed == 0 || input.is_empty()) {
                    break;
                }
            }
        }
        decoder.finish()?;
        Ok(out)
    }

    fn samples() -> Vec<(Coding, Vec<u8>)> {
        let text = "a line of log\n".repeat(500);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gzip.write_all(text.as_bytes()).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        zlib.write_all(text.as_bytes()).unwrap();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        raw.write_all(text.as_bytes()).unwrap();
        vec![
            (Coding::Identity, text.clone().into_bytes()),
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Zstd, zstd::encode_all(text.as_bytes(), 1).unwrap()),
        ]
    }

    #[test]
    fn every_coding_in_any_pieces() {
        let text = "a line of log\n".repeat(500).into_bytes();
        for (coding, wire) in samples() {
            for piece in [1, 2, 7, 100, 100_000] {
                assert_eq!(decode(coding, &wire, piece).as_ref(), Ok(&text), "{coding:?} by {piece}");
            }
            if coding != Coding::Identity {
                let twice = [&wire[..], &wire[..]].concat();
                if coding != Coding::Deflate {
                    assert_eq!(decode(coding, &twice, 11).unwrap(), text.repeat(2), "{coding:?}");
                }
                assert!(decode(coding, &wire[..wire.len() - 1], 11).is_err(), "{coding:?} cut");
                assert!(decode(coding, b"no such thing", 3).is_err(), "{coding:?} broken");
            }
        }
    }

    #[test]
    fn names() {
        assert_eq!(Coding::from_header(None), Some(Coding::Identity));
        assert_eq!(Coding::from_header(Some("GZIP")), Some(Coding::Gzip));
        assert_eq!(Coding::from_header(Some("br")), None);
    }
}
