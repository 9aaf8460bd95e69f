//! `revocation {}`, an extension: who else may revoke.

use super::super::args::Args;
use super::super::directives::Block;
use super::{Resolver, Seen};

impl Resolver<'_> {
    /// revocation := `revocation` `{` ( `allow_user` STRING `;` )* `}`; several blocks add up.
    pub(super) fn revocation(&mut self, _: &mut Seen, args: &mut Args<'_>) {
        if !self.known(Block::Revocation, args) {
            return;
        }
        match args.name() {
            "allow_user" => {
                let Some(user) = args.string("a user's name in quotes", self.diagnostics) else { return };
                let users = &mut self.config.revocation.allowed_users;
                if !users.contains(&user.text) {
                    users.push(user.text.clone());
                }
            }
            _ => {}
        }
    }
}
