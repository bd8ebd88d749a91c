//! What interceptors of one exchange tell each other, within bounds.

use microgw_engine::interceptors::Attributes;

/// Of an exchange.
pub const MAX_ATTRIBUTES: usize = 64;
/// Bytes of a name.
pub const MAX_NAME: usize = 256;
/// Bytes of all names and values together.
pub const MAX_SIZE: usize = 16 * 1024;

/// Why an attribute is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    #[error("an attribute's name is empty, or longer than {MAX_NAME} bytes")]
    Name,
    #[error("there are more than {MAX_ATTRIBUTES} attributes, or they are longer than {MAX_SIZE} bytes together")]
    TooMany,
}

/// What is refused changes nothing.
pub fn set(attributes: &mut Attributes, name: &str, value: &str) -> Result<(), AttributeError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(AttributeError::Name);
    }
    let others = attributes.iter().filter(|(other, _)| *other != name);
    let (count, size) =
        others.fold((0, 0), |(count, size), (name, value)| (count + 1, size + name.len() + value.len()));
    if count >= MAX_ATTRIBUTES || size + name.len() + value.len() > MAX_SIZE {
        return Err(AttributeError::TooMany);
    }
    attributes.insert(name.to_owned(), value.to_owned());
    Ok(())
}
