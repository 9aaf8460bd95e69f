//! How strong what is configured is, block by block (RFC 8221 for ESP, RFC 8247 for IKE).

use policy::model::algorithm::{Cipher, Hash, Integrity, SizedCipher, Strength};
use policy::model::daemon::DaemonConfig;
use policy::model::proposal::Phase1Proposal;
use policy::model::remote::{ExchangeMode, Remote};
use policy::model::sainfo::Sainfo;
use serde::Serialize;

/// The verdict over one block: that of its weakest choice, for a peer can insist on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grade {
    /// `remote NAME`, or `sainfo N` counted in the order they are looked up.
    pub block: String,
    /// `strong`, `weak` or `broken`.
    pub grade: &'static str,
    /// What is not strong, each once.
    pub reasons: Vec<String>,
}

/// A grade for every `remote` and every `sainfo`.
pub fn grades(config: &DaemonConfig) -> Vec<Grade> {
    let remotes = config.remotes.iter().map(|remote| grade(format!("remote {}", remote.name), of_remote(remote)));
    let sainfos = (1..).zip(&config.sainfos).map(|(number, block)| grade(format!("sainfo {number}"), of_sainfo(block)));
    remotes.chain(sainfos).collect()
}

/// Something that is not strong.
type Weakness = (Strength, String);

fn grade(block: String, weaknesses: Vec<Weakness>) -> Grade {
    let worst = weaknesses.iter().map(|(strength, _)| *strength).max().unwrap_or(Strength::Strong);
    let mut reasons: Vec<String> = Vec::new();
    for (_, reason) in weaknesses {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Grade { block, grade: word(worst), reasons }
}

fn word(strength: Strength) -> &'static str {
    match strength {
        Strength::Strong => "strong",
        Strength::Weak => "weak",
        Strength::Broken => "broken",
    }
}

fn of_remote(remote: &Remote) -> Vec<Weakness> {
    let mut found: Vec<Weakness> = remote.proposals.iter().flat_map(of_proposal).collect();
    let aggressive = remote.exchange_modes.contains(&ExchangeMode::Aggressive);
    if aggressive && remote.proposals.iter().any(|proposal| proposal.auth.is_psk()) {
        let reason = "aggressive mode with a pre-shared key: whoever listens can try passwords at leisure";
        found.push((Strength::Weak, reason.to_owned()));
    }
    if !remote.verify_cert && remote.proposals.iter().any(|proposal| proposal.auth.peer_signs()) {
        found.push((Strength::Broken, "verify_cert off: any certificate will do".to_owned()));
    }
    found
}

fn of_proposal(proposal: &Phase1Proposal) -> Vec<Weakness> {
    let group = proposal.group;
    [of_cipher(proposal.cipher), of_hash(proposal.hash), (group.strength(), group.racoon_name().to_owned())]
        .into_iter()
        .filter(|(strength, _)| *strength != Strength::Strong)
        .collect()
}

fn of_cipher(cipher: SizedCipher) -> Weakness {
    let facts = cipher.cipher.facts();
    (facts.strength, facts.racoon.to_owned())
}

fn of_hash(hash: Hash) -> Weakness {
    (hash.facts().strength, hash.facts().racoon.to_owned())
}

fn of_sainfo(sainfo: &Sainfo) -> Vec<Weakness> {
    let ciphers = sainfo.ciphers.iter().map(|cipher| of_cipher(*cipher));
    let integrity = sainfo.integrity.iter().map(|integrity| match integrity {
        // HMACs outlive the collisions of their hashes: of SHA-1 only the name is bad (RFC 8221 section 6).
        Some(Integrity::Hmac(Hash::Md5)) => (Strength::Weak, "hmac_md5".to_owned()),
        Some(_) => (Strength::Strong, String::new()),
        None => (Strength::Weak, "non_auth: packets can be forged".to_owned()),
    });
    let group = sainfo.pfs_group.map(|group| (group.strength(), group.racoon_name().to_owned()));
    let nothing = sainfo.ciphers.iter().any(|cipher| cipher.cipher == Cipher::Null) && sainfo.integrity.contains(&None);
    let nothing = nothing.then(|| (Strength::Broken, "neither encryption nor integrity".to_owned()));
    ciphers.chain(integrity).chain(group).chain(nothing).filter(|(strength, _)| *strength != Strength::Strong).collect()
}

#[cfg(test)]
mod tests {
    use policy::racoon;
    use policy::racoon::include::NoFiles;

    use super::*;

    fn graded(text: &str) -> Vec<Grade> {
        let loaded = racoon::load("c", text.as_bytes(), &mut NoFiles);
        grades(
            &loaded.config.unwrap_or_else(|| panic!("{}", racoon::load("c", text.as_bytes(), &mut NoFiles).render())),
        )
    }

    #[test]
    fn the_weakest_choice_of_a_block_counts() {
        let text = "path pre_shared_key \"/p\";
            remote anonymous { exchange_mode main;
              proposal { encryption_algorithm aes 256; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14; }
              proposal { encryption_algorithm 3des; hash_algorithm sha1; authentication_method pre_shared_key; dh_group 2; } }
            sainfo anonymous { encryption_algorithm aes 256; authentication_algorithm hmac_sha256; compression_algorithm deflate; }";
        let grades = graded(text);
        let names: Vec<_> = grades.iter().map(|grade| (grade.block.as_str(), grade.grade)).collect();
        assert_eq!(names, [("remote anonymous", "weak"), ("sainfo 1", "strong")]);
        assert_eq!(grades[0].reasons, ["3des", "sha1", "modp1024"]);
    }
}
