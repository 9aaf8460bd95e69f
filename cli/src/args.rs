//! Command lines: racoon's options for `xfrmd`, subcommands for `xfrmctl`.

use std::path::PathBuf;

use clap::{ArgAction, ArgGroup, Parser, Subcommand};
use clap_complete::Shell;

/// Where racoon.conf is looked for.
pub const DEFAULT_CONFIG: &str = "/etc/racoon/racoon.conf";
/// Where racoonctl looked for racoon.
pub const RACOON_SOCKET: &str = "/run/racoon/racoon.sock";
/// Run-time files: control socket, journal.
pub const DEFAULT_RUN_DIR: &str = "/run/xfrmd";
/// Files that survive a reboot: the deny list.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/xfrmd";

/// Places that tests and several daemons on one machine set apart: an option, else an environment variable, else the
/// usual place.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Places {
    /// Control socket [env: XFRMD_CONTROL] [default: RUN_DIR/control.sock]
    #[arg(long, value_name = "PATH", global = true)]
    pub control: Option<PathBuf>,
    /// Directory of the control socket and of the journal of SAs [env: XFRMD_RUN_DIR] [default: /run/xfrmd]
    #[arg(long, value_name = "DIR", global = true)]
    pub run_dir: Option<PathBuf>,
    /// Directory of the deny list [env: XFRMD_STATE_DIR] [default: /var/lib/xfrmd]
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<PathBuf>,
}

impl Places {
    /// Run-time files.
    pub fn run_dir(&self) -> PathBuf {
        place(self.run_dir.as_ref(), "XFRMD_RUN_DIR").unwrap_or_else(|| DEFAULT_RUN_DIR.into())
    }

    /// Files that survive a reboot.
    pub fn state_dir(&self) -> PathBuf {
        place(self.state_dir.as_ref(), "XFRMD_STATE_DIR").unwrap_or_else(|| DEFAULT_STATE_DIR.into())
    }

    /// The control socket.
    pub fn control_socket(&self) -> PathBuf {
        place(self.control.as_ref(), "XFRMD_CONTROL").unwrap_or_else(|| self.run_dir().join("control.sock"))
    }

    /// The journal of SAs.
    pub fn journal(&self) -> PathBuf {
        self.run_dir().join("sa.journal")
    }

    /// The deny list.
    pub fn deny_list(&self) -> PathBuf {
        self.state_dir().join("revoked")
    }
}

fn place(option: Option<&PathBuf>, variable: &str) -> Option<PathBuf> {
    option.cloned().or_else(|| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from))
}

/// IKEv1 daemon for IPsec, a drop-in for racoon
#[derive(Clone, Debug, Parser)]
#[command(name = "xfrmd", disable_version_flag = true)]
pub struct DaemonArgs {
    /// Stay in the foreground and log to standard error
    #[arg(short = 'F')]
    pub foreground: bool,
    /// Configuration file
    #[arg(short = 'f', value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Raise the log level by one; may be repeated
    #[arg(short = 'd', action = ArgAction::Count)]
    pub debug: u8,
    /// Append the log to this file
    #[arg(short = 'l', value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// UDP port of ISAKMP
    #[arg(short = 'p', value_name = "PORT", default_value_t = policy::model::addr::ISAKMP_PORT)]
    pub port: u16,
    /// UDP port of ISAKMP and ESP through NATs
    #[arg(short = 'P', value_name = "PORT", default_value_t = policy::model::addr::NATT_PORT)]
    pub natt_port: u16,
    /// Also say on standard error what would only go to the log
    #[arg(short = 'v')]
    pub verbose: bool,
    /// Print the version and exit
    #[arg(short = 'V')]
    pub version: bool,
    /// Take over the SAs of an earlier life (always done, from the journal; accepted for racoon's sake)
    #[arg(short = 'B')]
    pub backup_sa: bool,
    /// Add the place in the source to each log line
    #[arg(short = 'L')]
    pub log_location: bool,
    /// Print the configuration as it was understood and exit
    #[arg(short = 'C')]
    pub dump_config: bool,
    /// Check the configuration and exit: 0 good, 1 not
    #[arg(short = 't')]
    pub check: bool,
    /// Without isakmp lines, listen on IPv4 addresses only
    #[arg(short = '4', conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Without isakmp lines, listen on IPv6 addresses only
    #[arg(short = '6')]
    pub ipv6: bool,
    /// racoon's test against itself on one machine; not supported
    #[arg(short = 'Z')]
    pub local_test: bool,
    /// Set by the program itself when it goes into the background
    #[arg(long, hide = true)]
    pub detached: bool,
    /// Paths.
    #[command(flatten)]
    pub places: Places,
}

/// The ports of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Where our own negotiations start from.
    pub isakmp: u16,
    /// Where they go on when there is a NAT.
    pub natt: u16,
}

impl DaemonArgs {
    /// The ports that negotiations run from.
    pub fn ports(&self) -> Ports {
        Ports { isakmp: self.port, natt: self.natt_port }
    }
}

/// Look at and steer xfrmd and the kernel's IPsec state
#[derive(Clone, Debug, Parser)]
#[command(name = "xfrmctl", version)]
pub struct ControlArgs {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
    /// Paths.
    #[command(flatten)]
    pub places: Places,
}

/// `xfrmctl`'s subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List the SAs of the kernel, with the peer and certificate of those that xfrmd made
    Sa(Listing),
    /// List the policies of the kernel
    Policy(Listing),
    /// List the peers xfrmd is configured for or talks to
    Peers(Listing),
    /// Say whether xfrmd lives, since when, and what it holds
    Status(Listing),
    /// Bring up phase 1 with a peer, and wait for it
    Up {
        /// Address of the peer, or name of its remote block
        peer: String,
        /// Give up after this many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
    },
    /// Take down everything with a peer, telling it
    #[command(group(ArgGroup::new("whom").required(true).args(["peer", "all"])))]
    Down {
        /// Address of the peer, or name of its remote block
        peer: Option<String>,
        /// Every peer
        #[arg(long)]
        all: bool,
    },
    /// Read the configuration again
    Reload,
    /// Revoke a certificate: refuse it from now on and cut every SA that rests on it
    #[command(group(ArgGroup::new("which").required(true).args(["serial", "cert"])))]
    Revoke {
        /// What to revoke
        #[command(flatten)]
        which: Which,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a certificate off the deny list
    #[command(group(ArgGroup::new("which").required(true).args(["serial", "cert"])))]
    Unrevoke {
        /// What to forgive
        #[command(flatten)]
        which: Which,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the deny list
    Revoked(Listing),
    /// Check configuration: racoon.conf and setkey scripts, what they name, and whether they fit each other
    Check {
        /// The files, in any order
        #[arg(required_unless_present = "directives")]
        files: Vec<PathBuf>,
        /// List every directive of racoon.conf instead: works, has no effect, or is refused, and why
        #[arg(long, conflicts_with_all = ["files", "racoon_strict"])]
        directives: bool,
        /// Refuse what racoon would not understand: our extensions
        #[arg(long)]
        racoon_strict: bool,
        /// How
        #[command(flatten)]
        how: Listing,
    },
    /// Make a setkey script of keylime's subnets file
    Generate {
        /// The file: `ipsec`, networks, `exclude`, networks
        file: PathBuf,
        /// Print the racoon.conf that goes with it instead
        #[arg(long)]
        racoon_conf: bool,
    },
    /// Make an RSA key pair for `certificate_type plain_rsa`, or write an existing one that way
    PlainrsaGen {
        /// Bits of the modulus
        #[arg(short, value_name = "BITS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1024..=8192))]
        bits: u32,
        /// Public exponent
        #[arg(short, value_name = "EXPONENT", default_value_t = 65_537)]
        exponent: u32,
        /// Write this key (PEM) instead of making one; of a public key, the entry that peers need
        #[arg(short, value_name = "PEM", conflicts_with_all = ["bits", "exponent"])]
        input: Option<PathBuf>,
        /// Write to this file, which must not exist yet, mode 0600
        #[arg(short = 'f', value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// How a listing is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Listing {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A certificate named on the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// Serial number of any size: decimal, 0x hexadecimal, or pairs of hexadecimal digits with colons
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub serial: Option<String>,
    /// The certificate itself, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Certificate of the issuer; needed when several issuers are known and none of them stands out
    #[arg(long, value_name = "CERT")]
    pub issuer: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        DaemonArgs::command().debug_assert();
        ControlArgs::command().debug_assert();
    }

    #[test]
    fn racoons_options_mean_what_they_meant() {
        let args = DaemonArgs::try_parse_from(["racoon", "-Fddf", "/tmp/x.conf", "-l", "log", "-p", "5500"]).unwrap();
        assert!(args.foreground);
        assert_eq!(args.debug, 2);
        assert_eq!(args.config, PathBuf::from("/tmp/x.conf"));
        assert_eq!(args.log_file, Some(PathBuf::from("log")));
        assert_eq!(args.port, 5500);
        let all = DaemonArgs::try_parse_from(["racoon", "-4vLBCtZV", "-P", "14500"]).unwrap();
        assert!(all.ipv4 && all.verbose && all.log_location && all.backup_sa && all.dump_config && all.check);
        assert!(all.local_test && all.version && all.natt_port == 14_500);
        assert!(DaemonArgs::try_parse_from(["racoon", "-4", "-6"]).is_err());
        assert!(DaemonArgs::try_parse_from(["racoon", "-Y"]).is_err());
        assert!(DaemonArgs::try_parse_from(["racoon", "-p", "70000"]).is_err());
        assert!(DaemonArgs::try_parse_from(["racoon", "leftover"]).is_err());
    }

    #[test]
    fn down_wants_exactly_one_target() {
        assert!(ControlArgs::try_parse_from(["xfrmctl", "down"]).is_err());
        assert!(ControlArgs::try_parse_from(["xfrmctl", "down", "192.0.2.1", "--all"]).is_err());
        assert!(ControlArgs::try_parse_from(["xfrmctl", "down", "--all"]).is_ok());
    }

    #[test]
    fn check_wants_files_or_the_list_of_directives() {
        let parsed = |args: &[&str]| ControlArgs::try_parse_from([&["xfrmctl", "check"], args].concat()).is_ok();
        assert!(parsed(&["a.conf"]) && parsed(&["--racoon-strict", "a.conf"]) && parsed(&["--directives", "--json"]));
        assert!(!parsed(&[]) && !parsed(&["--racoon-strict"]) && !parsed(&["--directives", "a.conf"]));
    }

    #[test]
    fn revoke_wants_exactly_one_certificate() {
        assert!(ControlArgs::try_parse_from(["xfrmctl", "revoke"]).is_err());
        assert!(ControlArgs::try_parse_from(["xfrmctl", "revoke", "--serial", "7", "--cert", "c"]).is_err());
        assert!(ControlArgs::try_parse_from(["xfrmctl", "revoke", "--serial", "0x7", "--issuer", "ca.crt"]).is_ok());
    }
}
