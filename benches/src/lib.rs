//! Figures live in the `benches` folder beside this file.
