package import ThawCore
package import Wire

/// What a RestoreObject request asks for, as its body says it.
package struct RestoreAsk: Sendable, Equatable {
    package var days: Int?
    /// The word as sent; it need not be a tier.
    package var tier: String?

    package init(days: Int? = nil, tier: String? = nil) {
        self.days = days
        self.tier = tier
    }
}

extension ArchiveRecord {
    /// How a RestoreObject request ends.
    package enum RestoreOutcome: Sendable, Equatable {
        /// 202: a restore started, or goes on with a higher tier.
        case started(Restore)
        /// 200: the restored copy stays for longer.
        case extended(Restore)
        case refused(RestoreRefusal)
    }

    /// Answers a RestoreObject request at `now`. Changes nothing itself.
    ///
    /// - Parameter dialect: whose rules hold, where two have a class of this name
    package func restoring(
        _ ask: RestoreAsk, in dialect: Dialect? = nil, at now: Timestamp, fails: Bool = false
    ) -> RestoreOutcome {
        let state = state(at: now)
        guard state != .online, let rules = rules(dialect) else { return .refused(.notArchived) }
        let tier: RestoreTier?
        switch Self.tier(ask.tier, rules) {
        case .success(let asked): tier = asked
        case .failure(let refusal): return .refused(refusal)
        }
        let days: Int
        if archiveStatus != nil {
            guard ask.days == nil else { return .refused(.daysNotAllowed) }
            days = 0
        } else {
            days = ask.days ?? 1
            guard rules.days.contains(days) else { return .refused(.days(rules.days)) }
        }
        // Some hours at the most for every tier that got this far.
        let duration = rules.longest(tier) ?? .zero
        let window = Duration.seconds(Int64(days) * 86400)
        switch state {
        case .restored:
            return .extended(extended(by: window, at: now))
        case .restoring:
            return upgraded(tier, duration, at: now)
        case .frozen, .online:
            let ready = now + duration
            let expiry = archiveStatus == nil ? ready + window : nil
            return .started(Restore(ready: ready, expiry: expiry, tier: tier, fails: fails))
        }
    }

    private func extended(by window: Duration, at now: Timestamp) -> Restore {
        guard var restore else { return Restore(ready: now, expiry: now + window, tier: nil) }
        var expiry = now + window
        // OSS keeps a restored Archive object for seven days in total.
        if storageClass.name == "Archive" { expiry = min(expiry, restore.ready + .seconds(7 * 86400)) }
        restore.expiry = expiry
        return restore
    }

    private func upgraded(_ tier: RestoreTier?, _ duration: Duration, at now: Timestamp) -> RestoreOutcome {
        guard var restore, let current = restore.tier, let tier else { return .refused(.inProgress) }
        guard tier.rank > current.rank else {
            return .refused(tier == current ? .inProgress : .tierLowered)
        }
        let window = restore.expiry.map { $0 - restore.ready }
        restore.ready = min(restore.ready, now + duration)
        restore.expiry = window.map { restore.ready + $0 }
        restore.tier = tier
        return .started(restore)
    }

    private static func tier(_ word: String?, _ rules: ArchiveRules) -> Result<RestoreTier?, RestoreRefusal> {
        guard let word else { return .success(rules.defaultTier) }
        guard !rules.tiers.isEmpty else { return .failure(.tierNotAllowed) }
        guard let tier = RestoreTier(rawValue: word), rules.longest(tier) != nil else {
            return .failure(.tier(word))
        }
        return .success(tier)
    }
}

/// Why a RestoreObject request is refused, before a dialect gives it a status and a code.
package enum RestoreRefusal: Error, Sendable, Equatable {
    /// The object can be read as it is.
    case notArchived
    case inProgress
    /// A restore is going on with a higher tier.
    case tierLowered
    /// The class takes no tier at all.
    case tierNotAllowed
    /// Not a tier, or not one of this class.
    case tier(String)
    case days(ClosedRange<Int>)
    /// Intelligent-Tiering takes no days.
    case daysNotAllowed
}

extension RestoreTier {
    /// Priority may only rise: Bulk < Standard < Expedited.
    fileprivate var rank: Int {
        switch self {
        case .bulk: 0
        case .standard: 1
        case .expedited, .accelerated: 2
        }
    }
}
