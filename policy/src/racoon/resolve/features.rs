//! `remote`: what an exchange needs beyond RFC 2409: NATs, fragments, dead peers, road warriors.

use std::time::Duration;

use super::Resolver;
use crate::diagnostic::Diagnostic;
use crate::model::remote::{GeneratePolicy, HookEvent, HookScript, IkeFrag, NatTraversal, Remote};
use crate::racoon::args::Args;
use crate::racoon::include::join;

impl Resolver<'_> {
    /// Getting through: `nat_traversal`, `ike_frag`, `dpd…`.
    pub(super) fn path_directive(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        match args.name() {
            "nat_traversal" => {
                const VALUES: &[(&str, NatTraversal)] =
                    &[("on", NatTraversal::On), ("off", NatTraversal::Off), ("force", NatTraversal::Force)];
                if let Some(value) = args.choice(VALUES, self.diagnostics) {
                    remote.nat_traversal = value;
                }
            }
            "ike_frag" => {
                const VALUES: &[(&str, IkeFrag)] =
                    &[("on", IkeFrag::On), ("off", IkeFrag::Off), ("force", IkeFrag::Force)];
                if let Some(value) = args.choice(VALUES, self.diagnostics) {
                    remote.ike_frag = value;
                }
            }
            "dpd" => self.set_switch(&mut remote.dpd.offered, args),
            // Seconds, without a unit, as in racoon.
            "dpd_delay" => self.set_seconds(&mut remote.dpd.delay, args),
            "dpd_retry" => self.set_seconds(&mut remote.dpd.retry, args),
            "dpd_maxfail" => {
                if let Some(count) = args.number32(self.diagnostics) {
                    remote.dpd.max_failures = count;
                }
            }
            _ => {}
        }
    }

    /// Road warriors, from either end: `generate_policy`, `support_proxy`, `mode_cfg`, `xauth_login`, `script`.
    pub(super) fn road_warrior_directive(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        match args.name() {
            "generate_policy" => {
                const VALUES: &[(&str, GeneratePolicy)] = &[
                    ("off", GeneratePolicy::Off),
                    ("on", GeneratePolicy::Require),
                    ("require", GeneratePolicy::Require),
                    ("unique", GeneratePolicy::Unique),
                ];
                if let Some(value) = args.choice(VALUES, self.diagnostics) {
                    remote.generate_policy = value;
                }
            }
            "support_proxy" => {
                self.set_switch(&mut remote.support_proxy, args);
            }
            "mode_cfg" => {
                const VALUES: &[(&str, (bool, bool))] =
                    &[("on", (true, false)), ("off", (false, false)), ("push", (false, true))];
                if let Some(value) = args.choice(VALUES, self.diagnostics) {
                    (remote.mode_cfg, remote.mode_cfg_push) = value;
                }
            }
            "script" => self.script(remote, args),
            "xauth_login" => {
                if let Some(user) = args.name_string("a user name in quotes", self.diagnostics) {
                    remote.xauth_login = Some(user.text.clone());
                }
            }
            _ => {}
        }
    }

    /// script := STRING ( `phase1_up` | `phase1_down` | `phase1_dead` )
    fn script(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        let Some(file) = args.string("a script's file name in quotes", self.diagnostics) else { return };
        let events = HookEvent::ALL.map(|event| (event.name(), event));
        let Some(event) = args.choice(&events, self.diagnostics) else { return };
        let path = match &self.config.script_dir {
            _ if file.text.starts_with('/') => file.text.clone(),
            Some(directory) => join(directory, &file.text),
            None => {
                self.diagnostics.push(
                    Diagnostic::error(
                        file.span,
                        format!("\"{}\" is relative, and no `path script` stands above", file.text),
                    )
                    .hint("write `path script \"DIRECTORY\";` in front of the block, or an absolute name"),
                );
                return;
            }
        };
        self.names_file(&path, file.span);
        remote.scripts.retain(|script| script.event != event);
        remote.scripts.push(HookScript { event, path });
    }

    fn set_seconds(&mut self, target: &mut Duration, args: &mut Args<'_>) {
        if let Some(seconds) = args.number32(self.diagnostics) {
            *target = Duration::from_secs(u64::from(seconds));
        }
    }
}
