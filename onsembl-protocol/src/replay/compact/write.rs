//! Writes the compact form into a slice.

use super::{CompactError, zigzag};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

type Written = Result<(), CompactError>;

/// Writes values one after the other into a slice.
pub(in crate::replay) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(in crate::replay) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// How much was written.
    pub(in crate::replay) const fn len(&self) -> usize {
        self.at
    }

    pub(in crate::replay) fn byte(&mut self, byte: u8) -> Written {
        *self.out.get_mut(self.at).ok_or(CompactError::End)? = byte;
        self.at += 1;
        Ok(())
    }

    pub(in crate::replay) fn bytes(&mut self, bytes: &[u8]) -> Written {
        let end = self.at.checked_add(bytes.len()).ok_or(CompactError::End)?;
        self.out.get_mut(self.at..end).ok_or(CompactError::End)?.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    pub(in crate::replay) fn varint(&mut self, mut n: u64) -> Written {
        while n >= 0x80 {
            self.byte(n as u8 | 0x80)?;
            n >>= 7;
        }
        self.byte(n as u8)
    }

    pub(in crate::replay) fn signed(&mut self, n: i64) -> Written {
        self.varint(zigzag(n))
    }

    pub(in crate::replay) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(self)
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty => $how:ident,)*) => {$(
        fn $name(self, n: $type) -> Written {
            self.$how(n.into())
        }
    )*};
}

impl Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = CompactError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers! {
        serialize_bool: bool => byte,
        serialize_u8: u8 => byte,
        serialize_u16: u16 => varint,
        serialize_u32: u32 => varint,
        serialize_u64: u64 => varint,
        serialize_i8: i8 => signed,
        serialize_i16: i16 => signed,
        serialize_i32: i32 => signed,
        serialize_i64: i64 => signed,
        serialize_char: char => varint,
    }

    fn serialize_f32(self, _: f32) -> Written {
        Err(CompactError::Kind)
    }

    fn serialize_f64(self, _: f64) -> Written {
        Err(CompactError::Kind)
    }

    fn serialize_str(self, text: &str) -> Written {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Written {
        self.varint(bytes.len() as u64)?;
        self.bytes(bytes)
    }

    fn serialize_none(self) -> Written {
        self.byte(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        self.byte(1)?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Written {
        self.varint(index.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Written {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Written {
        self.varint(index.into())?;
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, CompactError> {
        self.varint(len.ok_or(CompactError::Kind)? as u64)?;
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, CompactError> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, CompactError> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, CompactError> {
        self.varint(index.into())?;
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, CompactError> {
        Err(CompactError::Kind)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, CompactError> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, CompactError> {
        self.varint(index.into())?;
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($trait:ident::$name:ident,)*) => {$(
        impl $trait for &mut Writer<'_> {
            type Ok = ();
            type Error = CompactError;

            fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                value.serialize(&mut **self)
            }

            fn end(self) -> Written {
                Ok(())
            }
        }
    )*};
    (named $($trait:ident,)*) => {$(
        impl $trait for &mut Writer<'_> {
            type Ok = ();
            type Error = CompactError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Written {
                value.serialize(&mut **self)
            }

            fn end(self) -> Written {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

parts! { named SerializeStruct, SerializeStructVariant, }

impl SerializeMap for &mut Writer<'_> {
    type Ok = ();
    type Error = CompactError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Written {
        Err(CompactError::Kind)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _: &T) -> Written {
        Err(CompactError::Kind)
    }

    fn end(self) -> Written {
        Err(CompactError::Kind)
    }
}
