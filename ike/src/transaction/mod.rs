//! Transaction exchanges: extended authentication (draft-beaulieu-ike-xauth-02 and -06) and mode config
//! (draft-dukes-ike-mode-cfg-02, draft-ietf-ipsec-isakmp-mode-cfg-05), both sides of each.

pub mod configuration;
pub(crate) mod exchange;
pub(crate) mod mode_config_client;
pub(crate) mod mode_config_server;
pub(crate) mod pool;
pub(crate) mod session;
pub(crate) mod throttle;
pub(crate) mod xauth_client;
pub(crate) mod xauth_server;
