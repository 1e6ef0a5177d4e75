//! Reads the compact form from a slice.

use super::{CompactError, unzigzag};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess,
    VariantAccess, Visitor,
};

type Read<T> = Result<T, CompactError>;

/// Reads values one after the other from a slice.
pub(in crate::replay) struct Reader<'de> {
    rest: &'de [u8],
}

impl<'de> Reader<'de> {
    pub(in crate::replay) const fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(in crate::replay) fn byte(&mut self) -> Read<u8> {
        let (first, rest) = self.rest.split_first().ok_or(CompactError::End)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(in crate::replay) fn bytes(&mut self, len: usize) -> Read<&'de [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(CompactError::End)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(in crate::replay) fn varint(&mut self) -> Read<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(CompactError::Refused)
    }

    pub(in crate::replay) fn signed(&mut self) -> Read<i64> {
        self.varint().map(unzigzag)
    }

    pub(in crate::replay) fn value<T: Deserialize<'de>>(&mut self) -> Read<T> {
        T::deserialize(self)
    }

    fn length(&mut self) -> Read<usize> {
        self.varint().and_then(|n| usize::try_from(n).map_err(|_| CompactError::Refused))
    }
}

macro_rules! numbers {
    ($($name:ident => $how:ident, $visit:ident;)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
            let n = self.$how()?;
            visitor.$visit(n)
        }
    )*};
}

macro_rules! none_of_these {
    ($($name:ident,)*) => {$(
        fn $name<V: Visitor<'de>>(self, _: V) -> Read<V::Value> {
            Err(CompactError::Kind)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = CompactError;

    numbers! {
        deserialize_u8 => byte, visit_u8;
        deserialize_u16 => varint, visit_u64;
        deserialize_u32 => varint, visit_u64;
        deserialize_u64 => varint, visit_u64;
        deserialize_i8 => signed, visit_i64;
        deserialize_i16 => signed, visit_i64;
        deserialize_i32 => signed, visit_i64;
        deserialize_i64 => signed, visit_i64;
    }

    none_of_these! {
        deserialize_any,
        deserialize_f32,
        deserialize_f64,
        deserialize_char,
        deserialize_map,
        deserialize_identifier,
        deserialize_ignored_any,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(CompactError::Refused),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        let len = self.length()?;
        let text = core::str::from_utf8(self.bytes(len)?).map_err(|_| CompactError::Refused)?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        let len = self.length()?;
        visitor.visit_borrowed_bytes(self.bytes(len)?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(CompactError::Refused),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, v: V) -> Read<V::Value> {
        v.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, v: V) -> Read<V::Value> {
        v.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value> {
        let left = self.length()?;
        visitor.visit_seq(Parts { reader: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Read<V::Value> {
        visitor.visit_seq(Parts { reader: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Read<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Parts<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = CompactError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Read<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = CompactError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Read<(V::Value, Self)> {
        let index = u32::try_from(self.varint()?).map_err(|_| CompactError::Refused)?;
        seed.deserialize(index.into_deserializer()).map(|variant| (variant, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = CompactError;

    fn unit_variant(self) -> Read<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Read<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Read<V::Value> {
        visitor.visit_seq(Parts { reader: self, left: len })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value> {
        visitor.visit_seq(Parts { reader: self, left: fields.len() })
    }
}
