//! racoonctl's command line: options, then a command in its long or short form, then what it takes.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;

use policy::model::addr::{IpNet, host_net};
use thiserror::Error;

use super::request::{Family, Flow};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `reload-config`
    Reload,
    /// `show-schedule`
    ShowSchedule,
    /// `show-sa`
    ShowSa(Family),
    /// `flush-sa`
    FlushSa(Family),
    /// `delete-sa isakmp`
    DeleteIsakmp(Pair),
    /// `delete-sa esp|ah`
    DeleteIpsec(Family, Flow),
    /// `establish-sa isakmp`
    EstablishIsakmp(Pair, Manner),
    /// `establish-sa esp|ah`
    EstablishIpsec(Flow, Manner),
    /// `vpn-connect`
    Connect(IpAddr, Manner),
    /// `get-cert`
    Certificate(Pair),
    /// `logout-user`
    Logout(String),
    /// `vpn-disconnect`
    Disconnect(IpAddr),
    /// `show-event`
    ShowEvent,
    /// `status`; as JSON or not
    Status(bool),
    /// `-h`
    Help,
}

/// How something is negotiated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// `-w`: wait for the outcome.
    pub wait: bool,
    /// `-n`: the name of the `remote` block.
    pub remote: Option<String>,
    /// `-u`: the user to log in as; the password is asked for.
    pub user: Option<String>,
}

/// Two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Ours.
    pub src: IpAddr,
    /// The peer's.
    pub dst: IpAddr,
}

/// The whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// `-l`, counted.
    pub long: u8,
    /// `-s`.
    pub socket: Option<PathBuf>,
    /// What to do.
    pub command: Command,
}

/// Why a command line is refused: exit code 1, as the original's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// Unknown option.
    #[error("unknown option {0}")]
    Option(String),
    /// Unknown command; the original's words.
    #[error("Invalid command [{0}]")]
    Command(String),
    /// Something is missing, or too much.
    #[error("{command}: {problem}")]
    Operands {
        /// Which command.
        command: String,
        /// What is wrong.
        problem: String,
    },
}

/// Long and short names of the commands.
const COMMANDS: [(&str, &str); 12] = [
    ("reload-config", "rc"),
    ("show-schedule", "sc"),
    ("show-sa", "ss"),
    ("flush-sa", "fs"),
    ("delete-sa", "ds"),
    ("establish-sa", "es"),
    ("vpn-connect", "vc"),
    ("vpn-disconnect", "vd"),
    ("show-event", "se"),
    ("status", "st"),
    ("get-cert", "gc"),
    ("logout-user", "lu"),
];

/// What stands behind the command, taken word by word.
struct Operands<'a> {
    command: &'a str,
    words: std::slice::Iter<'a, String>,
}

impl<'a> Operands<'a> {
    fn fail(&self, problem: impl Into<String>) -> ArgumentError {
        ArgumentError::Operands { command: self.command.to_owned(), problem: problem.into() }
    }

    fn next(&mut self, what: &str) -> Result<&'a str, ArgumentError> {
        self.words.next().map(String::as_str).ok_or_else(|| self.fail(format!("{what} is missing")))
    }

    fn end(mut self) -> Result<(), ArgumentError> {
        match self.words.next() {
            Some(more) => Err(self.fail(format!("nothing more is taken, but there is `{more}`"))),
            None => Ok(()),
        }
    }

    fn flag(&mut self, flag: &str) -> bool {
        let there = self.words.as_slice().first().is_some_and(|word| word == flag);
        if there {
            self.words.next();
        }
        there
    }

    /// An address or a host name, of the family if one is given.
    fn address(&self, text: &str, v6: Option<bool>) -> Result<IpAddr, ArgumentError> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let found = (text, 0).to_socket_addrs().map_err(|error| self.fail(format!("`{text}`: {error}")))?;
        let mut of_family = found.map(|at| at.ip()).filter(|address| v6.is_none_or(|v6| address.is_ipv6() == v6));
        of_family.next().ok_or_else(|| self.fail(format!("`{text}` has no address of the family given")))
    }

    /// `inet` or `inet6`, and a check that addresses are of it.
    fn inet(&mut self) -> Result<bool, ArgumentError> {
        match self.next("the address family (inet or inet6)")? {
            "inet" => Ok(false),
            "inet6" => Ok(true),
            other => Err(self.fail(format!("`{other}` is not an address family: inet or inet6"))),
        }
    }

    fn of_family(&self, address: IpAddr, v6: bool) -> Result<IpAddr, ArgumentError> {
        if address.is_ipv6() == v6 {
            return Ok(address);
        }
        Err(self.fail(format!("{address} is not of the family given")))
    }

    fn pair(&mut self) -> Result<Pair, ArgumentError> {
        let v6 = self.inet()?;
        let mut end = |what| -> Result<IpAddr, ArgumentError> {
            let text = self.next(what)?;
            self.of_family(self.address(text, Some(v6))?, v6)
        };
        let pair = Pair { src: end("the source address")?, dst: end("the destination address")? };
        // The original takes a protocol here too, and does nothing with it.
        if !self.words.as_slice().is_empty() {
            self.protocol()?;
        }
        Ok(pair)
    }

    /// `icmp`, `tcp`, `udp`, `gre` or `any`; the latter if nothing is there.
    fn protocol(&mut self) -> Result<u8, ArgumentError> {
        match self.words.next().map(String::as_str) {
            None | Some("any") => Ok(0),
            Some("icmp") => Ok(1),
            Some("tcp") => Ok(6),
            Some("udp") => Ok(17),
            Some("gre") => Ok(47),
            Some(other) => Err(self.fail(format!("`{other}` is none of icmp, tcp, udp, gre, any"))),
        }
    }

    /// `FAMILY SRC[/PREFIX[/PORT]] DST[/PREFIX[/PORT]] [PROTOCOL]`
    fn flow(&mut self) -> Result<Flow, ArgumentError> {
        let v6 = self.inet()?;
        let mut end = |what| -> Result<(IpNet, u16), ArgumentError> {
            let text = self.next(what)?;
            let (net, port) = self.endpoint(text, v6)?;
            self.of_family(net.addr(), v6)?;
            Ok((net, port))
        };
        let ((src, src_port), (dst, dst_port)) = (end("the source")?, end("the destination")?);
        Ok(Flow { src, src_port, dst, dst_port, protocol: self.protocol()? })
    }

    /// The manual page has `ADDRESS/PREFIX/PORT`, the original's program `ADDRESS/PREFIX[PORT]`.
    fn endpoint(&self, text: &str, v6: bool) -> Result<(IpNet, u16), ArgumentError> {
        let bracketed = text.strip_suffix(']').map(|text| text.replacen('[', "/", 1));
        let mut parts = bracketed.as_deref().unwrap_or(text).split('/');
        let address = self.address(parts.next().unwrap_or_default(), Some(v6))?;
        let net = match parts.next() {
            None => host_net(address),
            Some(prefix) => {
                let made = prefix.parse().ok().and_then(|prefix| IpNet::new(address, prefix).ok());
                made.ok_or_else(|| self.fail(format!("`{prefix}` is not a prefix length")))?.trunc()
            }
        };
        let port = match parts.next() {
            None | Some("any") => 0,
            Some(port) => port.parse().map_err(|_| self.fail(format!("`{port}` is not a port")))?,
        };
        match parts.next() {
            None => Ok((net, port)),
            Some(_) => Err(self.fail(format!("`{text}`: address/prefix/port is meant"))),
        }
    }
}

impl Arguments {
    /// Reads everything behind the program's name.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn parse(words: &[String]) -> Result<Self, ArgumentError> {
        let (mut long, mut socket, mut rest) = (0u8, None, words.iter());
        let help = |long, socket| Ok(Self { long, socket, command: Command::Help });
        let name = loop {
            let word = match rest.next().map(String::as_str) {
                // As the original: without a command it says which there are, and that is no failure.
                None | Some("--help") => return help(long, socket),
                Some(word) => word,
            };
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else { break word };
            for (at, letter) in letters.char_indices() {
                match letter {
                    'l' => long = long.saturating_add(1),
                    // Debug output of the original; there is none here.
                    'd' => {}
                    'h' | '?' => return help(long, socket),
                    's' => {
                        let glued = letters.get(at + 1..).filter(|path| !path.is_empty());
                        let path = glued.or_else(|| rest.next().map(String::as_str));
                        let missing = || ArgumentError::Option("-s without a path".to_owned());
                        socket = Some(PathBuf::from(path.ok_or_else(missing)?));
                        break;
                    }
                    _ => return Err(ArgumentError::Option(word.to_owned())),
                }
            }
        };
        let known = COMMANDS.iter().find(|(long, short)| name == *long || name == *short).map(|(long, _)| *long);
        let Some(command) = known else { return Err(ArgumentError::Command(name.to_owned())) };
        let mut operands = Operands { command, words: rest };
        let command = operation(&mut operands)?;
        operands.end()?;
        Ok(Self { long, socket, command })
    }
}

fn operation(operands: &mut Operands<'_>) -> Result<Command, ArgumentError> {
    Ok(match operands.command {
        "reload-config" => Command::Reload,
        "show-schedule" => Command::ShowSchedule,
        "show-sa" => Command::ShowSa(family(operands)?),
        "flush-sa" => Command::FlushSa(family(operands)?),
        "show-event" => Command::ShowEvent,
        "delete-sa" => match family(operands)? {
            Family::Isakmp => Command::DeleteIsakmp(operands.pair()?),
            family => Command::DeleteIpsec(family, operands.flow()?),
        },
        "establish-sa" => establish(operands)?,
        "vpn-connect" => {
            let manner = Manner { wait: true, ..manner(operands)? };
            let gateway = operands.next("the gateway's address")?;
            Command::Connect(operands.address(gateway, None)?, manner)
        }
        "get-cert" => Command::Certificate(operands.pair()?),
        "logout-user" => Command::Logout(operands.next("the user's name")?.to_owned()),
        "vpn-disconnect" => {
            let gateway = operands.next("the gateway's address")?;
            Command::Disconnect(operands.address(gateway, None)?)
        }
        // The table above has no others.
        _ => status(operands)?,
    })
}

fn family(operands: &mut Operands<'_>) -> Result<Family, ArgumentError> {
    match operands.next("isakmp, esp, ah or ipsec")? {
        "isakmp" => Ok(Family::Isakmp),
        "esp" => Ok(Family::Esp),
        "ah" => Ok(Family::Ah),
        "ipsec" => Ok(Family::Ipsec),
        other => Err(operands.fail(format!("`{other}` is none of isakmp, esp, ah, ipsec"))),
    }
}

/// `-u USER`, `-n REMOTE` and `-w`, in any order.
fn manner(operands: &mut Operands<'_>) -> Result<Manner, ArgumentError> {
    let mut manner = Manner::default();
    loop {
        if operands.flag("-w") {
            manner.wait = true;
        } else if operands.flag("-n") {
            manner.remote = Some(operands.next("the remote block's name")?.to_owned());
        } else if operands.flag("-u") {
            manner.user = Some(operands.next("the user's name")?.to_owned());
        } else {
            return Ok(manner);
        }
    }
}

fn establish(operands: &mut Operands<'_>) -> Result<Command, ArgumentError> {
    let manner = manner(operands)?;
    Ok(match family(operands)? {
        Family::Isakmp => Command::EstablishIsakmp(operands.pair()?, manner),
        _ => Command::EstablishIpsec(operands.flow()?, manner),
    })
}

fn status(operands: &mut Operands<'_>) -> Result<Command, ArgumentError> {
    let mut json = false;
    loop {
        if operands.flag("-f") {
            json = match operands.next("text or json")? {
                "json" => true,
                "text" => false,
                other => return Err(operands.fail(format!("`{other}` is not a format: text or json"))),
            };
        } else if !operands.flag("-v") {
            return Ok(Command::Status(json));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn command(line: &str) -> Command {
        parse(line).unwrap().command
    }

    #[test]
    fn long_and_short_names_are_the_same() {
        assert_eq!(command("reload-config"), command("rc"));
        assert_eq!(command("-s /tmp/x show-sa ipsec"), command("ss ipsec"));
        assert_eq!(parse("-ll ss isakmp").unwrap().long, 2);
        assert_eq!(parse("-l -l -l ss isakmp").unwrap().long, 3);
        let glued = parse("-ldls/tmp/x ss isakmp").unwrap();
        assert_eq!((glued.long, glued.socket), (2, Some(PathBuf::from("/tmp/x"))));
        assert_eq!((command(""), command("-h"), command("-l -?")), (Command::Help, Command::Help, Command::Help));
        assert_eq!(command("es -w isakmp inet 10.0.0.1 10.0.0.2"), {
            let pair = Pair { src: "10.0.0.1".parse().unwrap(), dst: "10.0.0.2".parse().unwrap() };
            Command::EstablishIsakmp(pair, Manner { wait: true, ..Manner::default() })
        });
    }

    #[test]
    fn users_blocks_and_certificates() {
        let gateway = "192.0.2.1".parse().unwrap();
        let manner = Manner { wait: true, remote: None, user: Some("carol".to_owned()) };
        assert_eq!(command("vpn-connect -u carol 192.0.2.1"), Command::Connect(gateway, manner));
        let Command::EstablishIsakmp(_, manner) = command("es -u x -n office -w isakmp inet 10.0.0.1 10.0.0.2") else {
            panic!("not an establish-sa isakmp");
        };
        assert_eq!((manner.remote.as_deref(), manner.wait), (Some("office"), true));
        assert_eq!(command("lu carol"), Command::Logout("carol".to_owned()));
        assert!(matches!(command("gc inet6 fd00::1 fd00::2"), Command::Certificate(Pair { .. })));
    }

    #[test]
    fn traffic_has_prefixes_ports_and_a_protocol() {
        let Command::DeleteIpsec(Family::Esp, flow) = command("ds esp inet 10.1.2.3/16/0 10.2.0.0/16/80 tcp") else {
            panic!("not a delete-sa esp");
        };
        assert_eq!((flow.src.to_string(), flow.dst.to_string()), ("10.1.0.0/16".to_owned(), "10.2.0.0/16".to_owned()));
        assert_eq!((flow.src_port, flow.dst_port, flow.protocol), (0, 80, 6));
        // As the program has it, as the manual page does not; and without a protocol.
        let Command::DeleteIpsec(_, other) = command("ds esp inet 10.1.0.0/16[0] 10.2.0.0/16[80] tcp") else {
            panic!("not a delete-sa esp");
        };
        assert_eq!(other, flow);
        assert_eq!(command("ds esp inet 10.1.0.1 10.2.0.1"), command("ds esp inet 10.1.0.1/32 10.2.0.1/32/any any"));
        assert_eq!(command("ds isakmp inet 10.1.0.1 10.2.0.1 any"), command("ds isakmp inet 10.1.0.1 10.2.0.1"));
        let named = command("ds isakmp inet localhost 10.2.0.1");
        assert_eq!(named, command("ds isakmp inet 127.0.0.1 10.2.0.1"));
        assert!(
            matches!(command("es ah inet6 fd00::1 fd00::2 any"), Command::EstablishIpsec(_, manner) if manner == Manner::default())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, words) in [
            ("foo", "Invalid command [foo]"),
            ("-x rc", "unknown option -x"),
            ("ss", "show-sa: isakmp, esp, ah or ipsec is missing"),
            ("ds isakmp inet 10.0.0.1", "delete-sa: the destination address is missing"),
            ("ds isakmp inet 10.0.0.1 fd00::1", "fd00::1 is not of the family given"),
            ("ds esp inet 10.0.0.1/33 10.0.0.2 any", "`33` is not a prefix length"),
            ("get-cert inet 10.0.0.1", "get-cert: the destination address is missing"),
            ("logout-user", "logout-user: the user's name is missing"),
            ("vc -u carol", "vpn-connect: the gateway's address is missing"),
            ("rc more", "nothing more is taken, but there is `more`"),
            ("st -f xml", "`xml` is not a format"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
