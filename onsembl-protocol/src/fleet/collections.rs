//! The collections of a fleet whose size grows with what a user has. They are those of `alloc`; in tests of this
//! crate they count each element that is looked at, so that a test can hold that no event looks at many.

#[cfg(not(test))]
pub(super) use alloc::collections::{BTreeMap as Map, BTreeSet as Set, VecDeque as Line};
#[cfg(test)]
pub(super) use counted::{Line, Map, Set};

#[cfg(test)]
pub(super) mod counted {
    use alloc::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
    use core::borrow::Borrow;
    use core::ops::RangeBounds;
    use std::cell::Cell;
    use std::thread_local;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    /// Elements looked at by this thread since the last time it was asked.
    pub(in crate::fleet) fn take_steps() -> u64 {
        STEPS.replace(0)
    }

    fn looked_at(elements: u64) {
        STEPS.set(STEPS.get() + elements);
    }

    /// A search looks at as many as the tree is high, at least.
    fn searched(len: usize) {
        looked_at(u64::from(usize::BITS - len.leading_zeros()) + 1);
    }

    /// Counts what an iterator gives.
    fn each<T>(of: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        of.inspect(|_| looked_at(1))
    }

    /// Counts what an iterator gives, from both ends.
    fn each_way<T>(of: impl DoubleEndedIterator<Item = T>) -> impl DoubleEndedIterator<Item = T> {
        of.inspect(|_| looked_at(1))
    }

    #[derive(Clone, Debug, PartialEq)]
    pub(in crate::fleet) struct Map<K, V>(BTreeMap<K, V>);

    impl<K, V> Map<K, V> {
        pub(in crate::fleet) const fn new() -> Self {
            Self(BTreeMap::new())
        }

        pub(in crate::fleet) fn len(&self) -> usize {
            self.0.len()
        }

        pub(in crate::fleet) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub(in crate::fleet) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
            each(self.0.iter())
        }

        pub(in crate::fleet) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
            each(self.0.iter_mut())
        }

        pub(in crate::fleet) fn values(&self) -> impl Iterator<Item = &V> {
            each(self.0.values())
        }

        pub(in crate::fleet) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
            each(self.0.values_mut())
        }
    }

    impl<K: Ord, V> Map<K, V> {
        pub(in crate::fleet) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
        where
            K: Borrow<Q>,
        {
            searched(self.0.len());
            self.0.get(key)
        }

        pub(in crate::fleet) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
        where
            K: Borrow<Q>,
        {
            searched(self.0.len());
            self.0.contains_key(key)
        }

        pub(in crate::fleet) fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
        where
            K: Borrow<Q>,
        {
            searched(self.0.len());
            self.0.get_key_value(key)
        }

        pub(in crate::fleet) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
        where
            K: Borrow<Q>,
        {
            searched(self.0.len());
            self.0.get_mut(key)
        }

        pub(in crate::fleet) fn insert(&mut self, key: K, value: V) -> Option<V> {
            searched(self.0.len());
            self.0.insert(key, value)
        }

        pub(in crate::fleet) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
        where
            K: Borrow<Q>,
        {
            searched(self.0.len());
            self.0.remove(key)
        }

        pub(in crate::fleet) fn entry(&mut self, key: K) -> btree_map::Entry<'_, K, V> {
            searched(self.0.len());
            self.0.entry(key)
        }

        pub(in crate::fleet) fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(
            &self,
            range: R,
        ) -> impl Iterator<Item = (&K, &V)>
        where
            K: Borrow<Q>,
        {
            searched(self.0.len());
            each(self.0.range(range))
        }

        pub(in crate::fleet) fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
            looked_at(self.0.len() as u64);
            self.0.retain(keep);
        }
    }

    impl<K, V> Default for Map<K, V> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
        fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
            Self(each(all.into_iter()).collect())
        }
    }

    impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Map<K, V> {
        fn from(all: [(K, V); N]) -> Self {
            Self(BTreeMap::from(all))
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    pub(in crate::fleet) struct Set<T>(BTreeSet<T>);

    impl<T> Set<T> {
        pub(in crate::fleet) const fn new() -> Self {
            Self(BTreeSet::new())
        }

        pub(in crate::fleet) fn len(&self) -> usize {
            self.0.len()
        }

        pub(in crate::fleet) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub(in crate::fleet) fn iter(&self) -> impl Iterator<Item = &T> {
            each(self.0.iter())
        }
    }

    impl<T: Ord> Set<T> {
        pub(in crate::fleet) fn insert(&mut self, value: T) -> bool {
            searched(self.0.len());
            self.0.insert(value)
        }

        pub(in crate::fleet) fn remove<Q: Ord + ?Sized>(&mut self, value: &Q) -> bool
        where
            T: Borrow<Q>,
        {
            searched(self.0.len());
            self.0.remove(value)
        }

        pub(in crate::fleet) fn first(&self) -> Option<&T> {
            searched(self.0.len());
            self.0.first()
        }

        pub(in crate::fleet) fn pop_first(&mut self) -> Option<T> {
            searched(self.0.len());
            self.0.pop_first()
        }

        pub(in crate::fleet) fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(
            &self,
            range: R,
        ) -> impl DoubleEndedIterator<Item = &T>
        where
            T: Borrow<Q>,
        {
            searched(self.0.len());
            each_way(self.0.range(range))
        }
    }

    impl<T> Default for Set<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<T: Ord> Extend<T> for Set<T> {
        fn extend<I: IntoIterator<Item = T>>(&mut self, more: I) {
            for value in more {
                let _ = self.insert(value);
            }
        }
    }

    #[derive(Clone, Debug, PartialEq)]
    pub(in crate::fleet) struct Line<T>(VecDeque<T>);

    impl<T> Line<T> {
        pub(in crate::fleet) const fn new() -> Self {
            Self(VecDeque::new())
        }

        pub(in crate::fleet) fn len(&self) -> usize {
            self.0.len()
        }

        pub(in crate::fleet) fn iter(&self) -> impl Iterator<Item = &T> {
            each(self.0.iter())
        }

        pub(in crate::fleet) fn push_back(&mut self, value: T) {
            looked_at(1);
            self.0.push_back(value);
        }

        pub(in crate::fleet) fn pop_front(&mut self) -> Option<T> {
            looked_at(1);
            self.0.pop_front()
        }

        pub(in crate::fleet) fn remove(&mut self, at: usize) -> Option<T> {
            looked_at(at as u64);
            self.0.remove(at)
        }

        pub(in crate::fleet) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
            looked_at(self.0.len() as u64);
            self.0.retain(keep);
        }
    }
}
