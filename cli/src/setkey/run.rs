//! The program: reads the script, asks the kernel in batches, reports each refusal with the place of its statement.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use policy::model::sa::{Mode, Protocol, ReqId, SecurityContext, Spi};
use policy::setkey::feed::{Feed, Piece};
use policy::setkey::parser::{Form, Script, parse_piece};
use policy::setkey::statement::{PolicyKey, PolicySpec, SaKey, Statement, StatementKind};
use policy::span::Span;
use xfrm::batch::{Refusal, error_text};
use xfrm::codec::error::CodecError;
use xfrm::model::policy::{List, Place, Policy, PolicyKey as KernelPolicyKey};
use xfrm::model::sa::{Sa, SaName, Stage};
use xfrm::request::{Reply, Request, SpiRequest};
use xfrm::socket::{Connection, Dump};

use super::dump::{Printer, SHORT_HEAD, now, sequence};
use super::lower::{self, ReqIds};
use super::monitor::{self, MonitorError};
use super::names::SystemNames;
use super::options::{Options, PolicyMode, Task, USAGE};
use super::pfkey::message::Dumped;
use super::pfkey::text;
use super::protocols::Protocols;
use super::talk::Talk;

/// IP protocols 4 and 41: a packet within a packet.
const IPIP: u8 = 4;
const IPV6: u8 = 41;

/// Requests collected before they are sent; what has to be read first sends them earlier.
const BATCH: usize = 4096;

/// Runs the program with its arguments (without its name).
pub fn run(args: impl IntoIterator<Item = String>) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(error) => {
            eprint!("setkey: {error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match &options.task {
        Task::Version | Task::Help => {
            println!("setkey @(#) xfrmd {} (setkey over XFRM netlink)", env!("CARGO_PKG_VERSION"));
            if options.task == Task::Help {
                print!("{USAGE}");
            }
            return ExitCode::FAILURE;
        }
        Task::Stdin => run_feed(&options),
        Task::File(name) if name == "-" => run_feed(&options),
        Task::File(name) => read_file(name).and_then(|text| {
            let mut runner = Runner { options: &options, name, session: None };
            runner.run(&Piece { text, first_line: 1 }).map(|_| ())
        }),
        Task::Dump => Session::open(&options).and_then(|mut session| session.dump()),
        Task::Listen(stamp) => monitor::listen(*stamp, options.hex).map_err(Failure::from),
        Task::Recordings(files) => files.iter().try_for_each(|name| print(&text::describe_all(&read_file(name)?))),
        Task::Flush => Session::open(&options).and_then(|mut session| session.flush()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Untold(text)) => {
            eprintln!("setkey: {text}");
            ExitCode::FAILURE
        }
        // A reader that has seen enough (`setkey -D | head`) is no error.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => {
            eprintln!("setkey: standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the program ends with exit code 1.
enum Failure {
    /// The user has read it already.
    Told,
    /// To be printed.
    Untold(String),
    /// Standard output does not take what we print.
    Output(io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Untold(refusal.to_string())
    }
}

impl From<MonitorError> for Failure {
    fn from(error: MonitorError) -> Self {
        match error {
            MonitorError::Kernel(refusal) => refusal.into(),
            MonitorError::Io(error) => error.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

type Outcome = Result<(), Failure>;

fn read_file(name: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(name).map_err(|error| Failure::Untold(format!("Can't open `{name}': {}", words(&error))))
}

/// The C library's words, as the original printed them.
fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), error_text)
}

/// Octets of standard input taken at a time.
const CHUNK: usize = 64 * 1024;

/// Runs the commands of standard input as they come: whoever types them, or waits for the answer to one, has it at once.
fn run_feed(options: &Options) -> Outcome {
    let mut runner = Runner { options, name: "stdin", session: None };
    let (mut feed, mut chunk) = (Feed::default(), vec![0; CHUNK]);
    loop {
        let count = match io::stdin().lock().read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Untold(format!("standard input: {}", words(&error)))),
        };
        feed.push(chunk.get(..count).unwrap_or_default());
        if let Some(piece) = feed.take()
            && runner.run(&piece)? == Next::End
        {
            return Ok(());
        }
    }
    runner.run(&feed.rest()).map(|_| ())
}

/// Does the script go on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    More,
    /// `exit`.
    End,
}

/// Runs a script or the pieces of one.
struct Runner<'a> {
    options: &'a Options,
    name: &'a str,
    session: Option<Session<'a>>,
}

impl Runner<'_> {
    /// Executes what stands in front of the first syntax error, then reports the errors.
    fn run(&mut self, piece: &Piece) -> Result<Next, Failure> {
        let script = parse_piece(self.name, &piece.text, piece.first_line, &mut SystemNames::default());
        let until = script.statements.iter().position(|statement| statement.kind == StatementKind::Exit);
        let wanted = script.statements.get(..until.unwrap_or(script.statements.len())).unwrap_or_default();
        if !self.options.dry && !wanted.is_empty() {
            let session = match &mut self.session {
                Some(session) => session,
                None => self.session.insert(Session::open(self.options)?),
            };
            session.run(&script, wanted)?;
        }
        eprint!("{}", findings(&script, self.name));
        match (script.first_error(), until) {
            (Some(_), _) => Err(Failure::Told),
            (None, Some(_)) => Ok(Next::End),
            (None, None) => Ok(Next::More),
        }
    }
}

/// The original's two lines for a syntax error, and ours; warnings alone if there is none.
fn findings(script: &Script, name: &str) -> String {
    let rendered = script.render();
    let Some(error) = script.first_error() else {
        return rendered;
    };
    let line = script.sources.locate(error.span).line;
    let found = error.found.as_deref().unwrap_or("");
    format!("setkey: {name},{line}: syntax error at `{found}'\nsetkey: {name},{line}: parse failed\n{rendered}")
}

/// A socket to the kernel and the requests not yet sent.
struct Session<'a> {
    options: &'a Options,
    kernel: Connection,
    talk: Talk,
    protocols: Protocols,
    reqids: Option<ReqIds>,
    requests: Vec<Request>,
    /// The statement each request comes from.
    places: Vec<Span>,
}

impl<'a> Session<'a> {
    /// Opens the socket and makes sure that the kernel listens to us: without its capability nothing works.
    fn open(options: &'a Options) -> Result<Self, Failure> {
        let mut kernel = Connection::open()?;
        if let Err(refusal) = kernel.execute_one(Request::SadInfo) {
            return Err(Refusal { request: "asking the kernel for its SAs and policies".to_owned(), ..refusal }.into());
        }
        let protocols = Protocols::load();
        let talk = Talk { is_on: options.verbose };
        Ok(Self { options, kernel, talk, protocols, reqids: None, requests: Vec::new(), places: Vec::new() })
    }

    /// `-D`, `-DP`, `-Dl`.
    fn dump(&mut self) -> Outcome {
        match (self.options.policies, self.options.forever) {
            (true, _) => self.print_policies(),
            (false, false) => self.print_sas(None),
            (false, true) => self.print_for_ever(),
        }
    }

    /// `-F`, `-FP`.
    fn flush(&mut self) -> Outcome {
        let request = if self.options.policies { Request::FlushPolicies(List::Main) } else { Request::FlushSas(None) };
        self.exchange(request)??;
        Ok(())
    }

    fn run(&mut self, script: &Script, statements: &[Statement]) -> Outcome {
        for statement in statements {
            self.execute(script, statement)?;
        }
        self.send(script)
    }

    fn execute(&mut self, script: &Script, statement: &Statement) -> Outcome {
        let place = statement.span;
        let mode = self.mode(script);
        match &statement.kind {
            StatementKind::Add(new) => self.ask(script, place, Request::AddSa(Box::new(lower::sa(new))))?,
            StatementKind::Delete(key) => {
                self.ask(script, place, Request::DeleteSa { name: lower::sa_name(key), mark: None })?;
            }
            StatementKind::DeleteAll { src, dst, protocol } => {
                self.send(script)?;
                self.delete_all(script, place, (*src, *dst), *protocol)?;
            }
            StatementKind::Get(key) => {
                self.send(script)?;
                self.get(script, place, lower::sa_name(key))?;
            }
            StatementKind::Flush(protocol) => self.ask(script, place, Request::FlushSas(*protocol))?,
            StatementKind::Dump(protocol) => {
                self.send(script)?;
                self.print_sas(*protocol)?;
            }
            StatementKind::SpdAdd(spec) => {
                for policy in self.lower(script, spec)? {
                    self.ask(script, place, Request::AddPolicy(Box::new(policy)))?;
                }
            }
            StatementKind::SpdUpdate(spec) => {
                for policy in self.lower(script, spec)? {
                    self.ask(script, place, Request::UpdatePolicy(Box::new(policy)))?;
                }
            }
            StatementKind::GetSpi { key, mode } => {
                self.send(script)?;
                self.reserve_spi(script, place, key, *mode)?;
            }
            StatementKind::SpdDelete(key, None) => {
                for key in lower::policy_keys(key, mode) {
                    self.ask(script, place, Request::DeletePolicy(key))?;
                }
            }
            StatementKind::SpdDelete(key, Some(context)) => {
                self.send(script)?;
                self.delete_labelled(script, place, key, context)?;
            }
            StatementKind::SpdFlush => self.ask(script, place, Request::FlushPolicies(List::Main))?,
            StatementKind::SpdDump => {
                self.send(script)?;
                self.print_policies()?;
            }
            StatementKind::Refused(why) => {
                self.send(script)?;
                complain(script, place, &Refusal::ours("a command", libc::EINVAL, why.clone()));
            }
            StatementKind::Exit => {}
        }
        Ok(())
    }

    /// What `-D` printed holds the `fwd` twins already.
    fn mode(&self, script: &Script) -> PolicyMode {
        if script.form == Form::Dump { PolicyMode::Kernel } else { self.options.mode }
    }

    /// `getspi`: the kernel keeps a larval SA of this SPI for `net.core.xfrm_acq_expires` seconds.
    fn reserve_spi(&mut self, script: &Script, place: Span, key: &SaKey, mode: Mode) -> Outcome {
        let mut request = SpiRequest::new(key.protocol, key.src, key.dst, mode, ReqId(0));
        (request.min, request.max) = (key.spi, key.spi);
        if let Err(refusal) = self.exchange(Request::AllocateSpi(request))? {
            complain(script, place, &refusal);
        }
        Ok(())
    }

    /// Policies with a label are found by looking: the kernel's own search by selector passes over them.
    fn delete_labelled(&mut self, script: &Script, place: Span, key: &PolicyKey, context: &SecurityContext) -> Outcome {
        let policies = self.kernel.dump_policies()?.entries;
        for wanted in lower::policy_keys(key, self.mode(script)) {
            let is_it = |policy: &&Policy| {
                policy.place == Place::Spd(wanted.direction)
                    && policy.selector == key.selector
                    && policy.context.as_ref() == Some(context)
            };
            let request = match policies.iter().find(is_it) {
                Some(policy) => Request::DeletePolicy(KernelPolicyKey::index(policy.index)),
                // The kernel says in its own words that there is none.
                None => Request::DeletePolicy(wanted),
            };
            self.ask(script, place, request)?;
        }
        Ok(())
    }

    fn lower(&mut self, script: &Script, spec: &PolicySpec) -> Result<Vec<Policy>, Failure> {
        let mode = self.mode(script);
        if !lower::needs_fresh_reqid(spec) {
            return Ok(lower::policies(spec, mode, Default::default));
        }
        if self.reqids.is_none() {
            // A `spdflush` that waits would free reqids.
            self.send(script)?;
            self.reqids = Some(ReqIds::new(&self.kernel.dump_policies()?.entries));
        }
        let reqids = self.reqids.get_or_insert_with(|| ReqIds::new(&[]));
        Ok(lower::policies(spec, mode, || reqids.fresh()))
    }

    fn ask(&mut self, script: &Script, place: Span, request: Request) -> Outcome {
        self.requests.push(request);
        self.places.push(place);
        // With `-v` each answer stands behind its question.
        if self.requests.len() >= BATCH || self.talk.is_on { self.send(script) } else { Ok(()) }
    }

    /// Sends what has been collected. The script goes on whatever the kernel refuses, and the exit code stays 0.
    fn send(&mut self, script: &Script) -> Outcome {
        self.requests.iter().try_for_each(|request| self.talk.asked(request))?;
        let answers = self.kernel.execute(&self.requests);
        for ((answer, place), request) in answers.iter().zip(&self.places).zip(&self.requests) {
            self.talk.answered(request, answer)?;
            if let Err(refusal) = answer {
                complain(script, *place, refusal);
            }
        }
        self.requests.clear();
        self.places.clear();
        Ok(())
    }

    /// One question that waits for nothing else.
    fn exchange(&mut self, request: Request) -> io::Result<Result<Reply, Refusal>> {
        self.talk.asked(&request)?;
        let answer = self.kernel.execute_one(request.clone());
        self.talk.answered(&request, &answer)?;
        Ok(answer)
    }

    /// Every SA between two addresses (the original stopped at the first).
    fn delete_all(&mut self, script: &Script, place: Span, ends: (IpAddr, IpAddr), protocol: Protocol) -> Outcome {
        let dump = self.kernel.dump_sas(Some(protocol))?;
        let between = |sa: &&Sa| (sa.name.src, sa.name.dst) == ends;
        let requests: Vec<Request> =
            dump.entries.iter().filter(between).map(|sa| Request::DeleteSa { name: sa.name, mark: sa.mark }).collect();
        if requests.is_empty() {
            let name = SaName { protocol, spi: Spi(0), src: ends.0, dst: ends.1 };
            complain(script, place, &Refusal::new(format!("DELSA {name}"), libc::ESRCH, None));
        }
        for request in requests {
            self.ask(script, place, request)?;
        }
        self.send(script)
    }

    fn get(&mut self, script: &Script, place: Span, name: SaName) -> Outcome {
        match self.exchange(Request::GetSa { name, mark: None })? {
            Ok(Reply::Sa(sa)) => print(&self.printer().sas(&[*sa])),
            Ok(_) => Ok(()),
            Err(refusal) => {
                complain(script, place, &refusal);
                Ok(())
            }
        }
    }

    fn print_sas(&mut self, protocol: Option<Protocol>) -> Outcome {
        self.talk.asked_for_all(Dumped::Sas(protocol))?;
        let dump = self.sas(protocol)?;
        mention_unreadable(&dump, "SA");
        if !self.talk.is_on || dump.entries.is_empty() {
            return print(&self.printer().sas(&dump.entries));
        }
        // With `-v` each entry stands behind the message it is taken from.
        let printer = self.printer();
        for (index, sa) in dump.entries.iter().enumerate() {
            self.talk.told_sa(sa)?;
            print(&printer.one_sa(sa, sequence(index, dump.entries.len())))?;
        }
        Ok(())
    }

    /// Without `-a`, SAs that are past a hard limit and wait to be removed are not shown.
    fn sas(&mut self, protocol: Option<Protocol>) -> Result<Dump<Sa>, Refusal> {
        let mut dump = self.kernel.dump_sas(protocol)?;
        if !self.options.all {
            dump.entries.retain(|sa| sa.stage(now()) != Stage::Dead);
        }
        // IPComp in tunnel mode keeps an IP-in-IP SA beside its own, which PF_KEY never told of.
        dump.unreadable.retain(|error| !matches!(error, CodecError::Protocol(IPIP | IPV6)));
        Ok(dump)
    }

    fn print_policies(&mut self) -> Outcome {
        self.talk.asked_for_all(Dumped::Policies)?;
        let mut dump = self.kernel.dump_policies()?;
        mention_unreadable(&dump, "policy");
        let all = dump.entries.len();
        if self.options.no_sockets {
            dump.entries.retain(|policy| !policy.place.is_socket());
        }
        let printer = self.printer();
        if !self.talk.is_on || dump.entries.is_empty() {
            print(&printer.policies(&dump.entries))?;
        } else {
            for (index, policy) in dump.entries.iter().enumerate() {
                self.talk.told_policy(policy)?;
                print(&printer.one_policy(policy, sequence(index, dump.entries.len())))?;
            }
        }
        match all - dump.entries.len() {
            0 => Ok(()),
            hidden => print(&format!("{hidden} per-socket policies not shown (filtered by -N)\n")),
        }
    }

    fn print_for_ever(&mut self) -> Outcome {
        print(SHORT_HEAD)?;
        loop {
            let dump = self.sas(None)?;
            let printer = self.printer();
            for sa in &dump.entries {
                print(&printer.short(sa))?;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn printer(&self) -> Printer<'_> {
        Printer::of_now(&self.protocols, self.options.ports)
    }
}

fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// `setkey: FILE,LINE: File exists`: the line is that of the statement's `;`, where the original had read it.
fn complain(script: &Script, place: Span, refusal: &Refusal) {
    eprintln!("{}", complaint(script, place, refusal));
}

fn complaint(script: &Script, place: Span, refusal: &Refusal) -> String {
    let end = script.sources.locate(place.behind());
    let more: Vec<&str> = refusal.kernel_words.iter().chain(&refusal.hint).map(String::as_str).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    format!("setkey: {},{}: {}{more}", end.file, end.line, refusal.error_text())
}

fn mention_unreadable<T>(dump: &Dump<T>, what: &str) {
    for error in &dump.unreadable {
        eprintln!("setkey: one {what} is not shown: {error}");
    }
}

#[cfg(test)]
mod tests {
    use policy::setkey::parser::parse;

    use super::*;

    #[test]
    fn a_syntax_error_is_told_in_the_originals_words_and_in_ours() {
        let script = parse("x.conf", b"flush;\n\nspdad x y;\nspdflush;\n");
        assert_eq!(script.statements.len(), 1, "what stands in front of the error is executed");
        assert_eq!(
            findings(&script, "x.conf"),
            "setkey: x.conf,3: syntax error at `spdad'\n\
             setkey: x.conf,3: parse failed\n\
             x.conf:3:1: error: unknown command `spdad`\n    \
             | spdad x y;\n    \
             | ^^^^^\n    \
             = hint: did you mean `spdadd`?\n"
        );
        assert_eq!(findings(&parse("x.conf", b"flush;"), "x.conf"), "");
    }

    #[test]
    fn a_refusal_names_the_line_of_the_semicolon() {
        let script =
            parse("x.conf", b"flush;\nspdadd 10.0.0.1 10.0.0.2 any -P out ipsec\n  esp/transport//require ;\n");
        let place = script.statements.get(1).expect("two statements").span;
        let refusal = Refusal::new("NEWPOLICY", libc::EEXIST, None);
        assert_eq!(complaint(&script, place, &refusal), "setkey: x.conf,3: File exists");
        let refusal = Refusal::new("NEWPOLICY", libc::EINVAL, Some("Invalid mode".to_owned()));
        assert_eq!(complaint(&script, place, &refusal), "setkey: x.conf,3: Invalid argument (Invalid mode)");
        let refusal = Refusal::new("NEWPOLICY", libc::EPERM, None);
        assert!(complaint(&script, place, &refusal).ends_with("(CAP_NET_ADMIN is missing)"));
    }
}
