//! Who calls, in plain headers: lighter than a JWT, and worth as much as the way to the backend.

use std::borrow::Cow;
use std::fmt::Write as _;

use microgw_proto::rules::v1 as proto;
use proto::identity_header::Fact as Told;

use crate::identity::Identity;
use crate::policy;
use crate::rules::LoadError;

/// Bytes of a value, written as it travels. A longer one is not told: cut short it would be somebody else's.
pub const MAX_VALUE: usize = 4096;

/// A header, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeader {
    name: Box<str>,
    fact: Fact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    User,
    Client,
    Application,
    Scopes,
    KeyId,
    KeyType,
}

// === impl IdentityHeader ===

impl IdentityHeader {
    pub(crate) fn load(header: &proto::IdentityHeader) -> Result<IdentityHeader, LoadError> {
        let fact = match header.fact() {
            Told::User => Fact::User,
            Told::Client => Fact::Client,
            Told::Application => Fact::Application,
            Told::Scopes => Fact::Scopes,
            Told::KeyId => Fact::KeyId,
            Told::KeyType => Fact::KeyType,
            Told::Unspecified => return Err(LoadError::UnknownFact),
        };
        Ok(IdentityHeader { name: policy::header_name(&header.name)?.into(), fact })
    }

    /// In lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of `identity`, as it may stand in a header. `None`: nothing is known, or it is too long.
    pub fn value<'a>(&self, identity: &'a Identity) -> Option<Cow<'a, str>> {
        let value = match self.fact {
            Fact::User => printable(identity.subject()?),
            Fact::Client => printable(identity.client()?),
            Fact::Application => {
                let application = identity.application()?;
                printable(application.name.as_deref().or(application.id.as_deref())?)
            }
            Fact::Scopes => match identity.scope_text() {
                Cow::Borrowed(text) => printable(text),
                Cow::Owned(text) => printable(&text).into_owned().into(),
            },
            Fact::KeyId => printable(identity.key_id()?),
            Fact::KeyType => identity.key_type().as_str().into(),
        };
        (!value.is_empty() && value.len() <= MAX_VALUE).then_some(value)
    }
}

/// What is not printable ASCII is percent-encoded, and so is `%`: no two texts are written alike. Blanks at either end would
/// be lost on the way.
fn printable(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'%';
    if text.bytes().all(plain) && !text.starts_with(' ') && !text.ends_with(' ') {
        return Cow::Borrowed(text);
    }
    let (inside_from, inside_to) = (text.len() - text.trim_start_matches(' ').len(), text.trim_end_matches(' ').len());
    let mut encoded = String::with_capacity(text.len() * 2);
    for (index, byte) in text.bytes().enumerate() {
        if plain(byte) && (byte != b' ' || (inside_from..inside_to).contains(&index)) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        if encoded.len() > MAX_VALUE {
            break;
        }
    }
    encoded.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CredentialKind;

    fn header(fact: Told) -> IdentityHeader {
        IdentityHeader::load(&proto::IdentityHeader { fact: fact.into(), name: "x-who".into() }).unwrap()
    }

    fn user(name: &str) -> Identity {
        Identity::user(name, ["read", "write", "no scope", ""])
    }

    #[test]
    fn values_cannot_leave_their_header_and_no_two_are_alike() {
        for (name, value) in [
            ("alice", "alice"),
            ("Alice Smith", "Alice Smith"),
            ("Zoë", "Zo%C3%AB"),
            ("a\r\nx-admin: true", "a%0D%0Ax-admin: true"),
            ("100%", "100%25"),
            ("Zo%C3%AB", "Zo%25C3%25AB"),
            (" a b ", "%20a b%20"),
            ("   ", "%20%20%20"),
            ("\u{7f}\0", "%7F%00"),
        ] {
            assert_eq!(header(Told::User).value(&user(name)).unwrap(), value);
        }
    }

    #[test]
    fn what_is_too_long_or_unknown_is_not_told() {
        assert_eq!(header(Told::User).value(&user(&"a".repeat(MAX_VALUE))).unwrap().len(), MAX_VALUE);
        assert_eq!(header(Told::User).value(&user(&"a".repeat(MAX_VALUE + 1))), None);
        assert_eq!(header(Told::User).value(&user(&"ë".repeat(MAX_VALUE))), None);
        assert_eq!(header(Told::User).value(&user("")), None);
        let nobody = Identity::new(CredentialKind::ApiKey);
        for fact in [Told::User, Told::Client, Told::Application, Told::Scopes, Told::KeyId] {
            assert_eq!(header(fact).value(&nobody), None);
        }
        assert_eq!(header(Told::KeyType).value(&nobody).unwrap(), "PRODUCTION");
    }

    #[test]
    fn a_scope_with_a_blank_in_it_is_not_two() {
        assert_eq!(header(Told::Scopes).value(&user("alice")).unwrap(), "read write");
    }

    #[test]
    fn a_fact_of_another_version_is_no_fact() {
        let unknown = proto::IdentityHeader { fact: 99, name: "x-who".into() };
        assert_eq!(IdentityHeader::load(&unknown), Err(LoadError::UnknownFact));
        let upper = proto::IdentityHeader { fact: Told::User.into(), name: "X-Who".into() };
        assert_eq!(IdentityHeader::load(&upper), Err(LoadError::HeaderName("X-Who".into())));
    }
}
