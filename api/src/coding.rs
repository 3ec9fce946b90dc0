//! Compression of answers (RFC 9110 §8.4): whole bodies at once, streams piece by piece.

use std::io::{self, Write};

use warp::http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

/// zstd's quickest of the usual levels: faster than gzip's, and smaller.
const ZSTD_LEVEL: i32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// What the client takes (RFC 9110 §12.5.3): of what it weighs highest zstd, else gzip, else none.
    pub fn accepted(headers: &HeaderMap) -> Coding {
        let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let (mut zstd, mut gzip, mut any, mut identity) = (None, None, None, None);
        for each in values.flat_map(|value| value.split(',')) {
            let (name, weight) = each.split_once(';').unwrap_or((each, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse::<f32>().ok()).unwrap_or(0.0);
            match name.trim().to_ascii_lowercase().as_str() {
                "zstd" => zstd = Some(weight),
                "gzip" | "x-gzip" => gzip = Some(weight),
                "identity" => identity = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
        let weight = |own: Option<f32>| own.or(any).unwrap_or(0.0);
        let (zstd, gzip, identity) = (weight(zstd), weight(gzip), identity.unwrap_or(0.0));
        match () {
            () if zstd > 0.0 && zstd >= gzip && zstd >= identity => Coding::Zstd,
            () if gzip > 0.0 && gzip >= identity => Coding::Gzip,
            () => Coding::Identity,
        }
    }

    /// As `Content-Encoding` names it.
    pub fn name(self) -> Option<HeaderValue> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some(HeaderValue::from_static("gzip")),
            Coding::Zstd => Some(HeaderValue::from_static("zstd")),
        }
    }

    /// A whole body.
    pub fn pack(self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut packer = Packer::new(self)?;
        packer.write(plain)?;
        packer.end()
    }
}

/// Packs a stream: what goes in comes out at a flush, at the latest.
pub struct Packer(Inner);

enum Inner {
    Identity(Vec<u8>),
    // Level 1: it takes logs to a fifth, and a slower one to little less.
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Packer {
    pub fn new(coding: Coding) -> io::Result<Packer> {
        Ok(Packer(match coding {
            Coding::Identity => Inner::Identity(Vec::new()),
            Coding::Gzip => Inner::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            Coding::Zstd => Inner::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        }))
    }

    pub fn write(&mut self, plain: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Inner::Identity(out) => out.write_all(plain),
            Inner::Gzip(encoder) => encoder.write_all(plain),
            Inner::Zstd(encoder) => encoder.write_all(plain),
        }
    }

    /// Gives what is packed so far, so that the client can unpack all that was written.
    pub fn flush(&mut self) -> io::Result<Vec<u8>> {
        Ok(match &mut self.0 {
            Inner::Identity(out) => std::mem::take(out),
            Inner::Gzip(encoder) => {
                encoder.flush()?;
                std::mem::take(encoder.get_mut())
            }
            Inner::Zstd(encoder) => {
                encoder.flush()?;
                std::mem::take(encoder.get_mut())
            }
        })
    }

    /// Gives the rest.
    pub fn end(self) -> io::Result<Vec<u8>> {
        match self.0 {
            Inner::Identity(out) => Ok(out),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_a_client_takes() {
        for (text, want) in [
            ("gzip", Coding::Gzip),
            ("gzip, deflate, br", Coding::Gzip),
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", Coding::Gzip),
            ("zstd;q=0.5, gzip", Coding::Gzip),
            ("*", Coding::Zstd),
            ("zstd;q=0, *", Coding::Gzip),
            ("br, gzip;q=0", Coding::Identity),
            ("gzip;q=0.5, identity", Coding::Identity),
            ("gzip;q=x", Coding::Identity),
            ("identity", Coding::Identity),
            ("", Coding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(text).unwrap());
            assert_eq!(Coding::accepted(&headers), want, "{text}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), Coding::Identity);
    }

    #[test]
    fn what_was_flushed_can_be_read() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let mut packer = Packer::new(coding).unwrap();
            let mut sent = Vec::new();
            for piece in [&b"first"[..], b"", b"second"] {
                packer.write(piece).unwrap();
                sent.extend(packer.flush().unwrap());
            }
            // Not ended yet, and all there.
            let mut plain = [0; 11];
            match coding {
                Coding::Identity => plain.copy_from_slice(&sent),
                Coding::Gzip => flate2::read::GzDecoder::new(&*sent).read_exact(&mut plain).unwrap(),
                Coding::Zstd => zstd::stream::read::Decoder::new(&*sent).unwrap().read_exact(&mut plain).unwrap(),
            }
            assert_eq!(&plain, b"firstsecond", "{coding:?}");
            sent.extend(packer.end().unwrap());
            if coding == Coding::Zstd {
                assert_eq!(zstd::stream::decode_all(&*sent).unwrap(), b"firstsecond");
            }
        }
    }
}
