//! Special functions with tails accurate down to 1e-300 and parameters up to 1e12.
//!
//! `sf` is the upper tail, `isf` its inverse, `ppf` the inverse of the lower tail, `ln_` the natural logarithm. An
//! argument outside a function's domain gives NaN, as in any mathematical library: the statistics above check theirs
//! first. Own series rather than `statrs`, except for lnΓ of small arguments: its erfc is right to ten digits only, and its
//! incomplete beta and gamma functions lose digits at large parameters and have no logarithmic form.

mod beta;
mod gamma;
mod normal;
mod root;
mod series;
mod student;

pub use beta::{beta_cdf, beta_isf, beta_ppf, beta_sf, ln_beta, ln_beta_cdf, ln_beta_sf};
pub use gamma::{chi2_isf, chi2_sf, gamma_cdf, gamma_sf, ln_gamma, ln_gamma_cdf, ln_gamma_sf};
pub use normal::{norm_cdf, norm_isf, norm_logcdf, norm_logsf, norm_pdf, norm_ppf, norm_sf};
pub use student::{t_isf, t_sf};

pub(crate) use gamma::stirling_correction;
pub(crate) use root::find_root;
pub(crate) use series::ln_1p_minus;
