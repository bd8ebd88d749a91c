//! How responses are compressed.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The first that a client takes is used. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// Bytes; what is known to be shorter stays as it is.
    pub least: u32,
    /// Lower-case, without parameters. Never that of event streams, which would be held back.
    pub content_types: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Brotli,
    Gzip,
    Zstd,
}

// === impl Algorithm ===

impl Algorithm {
    pub const ALL: [Algorithm; 3] = [Algorithm::Brotli, Algorithm::Gzip, Algorithm::Zstd];

    /// The content coding, which settings call it by as well.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Brotli => "br",
            Algorithm::Gzip => "gzip",
            Algorithm::Zstd => "zstd",
        }
    }
}
