internal import ObjectStore
package import Restore
package import Wire

/// What a reader meets at a frozen file: the mount's `on_frozen` and its companions.
package struct FrozenPolicy: Sendable {
    package enum Behaviour: String, Sendable, CaseIterable {
        /// The read waits for the restore, if the class's documented time fits in `waitMax`.
        case block
        /// The restore is started, and the open refused until it is done.
        case eagain
        /// Nothing is ever asked on behalf of a reader.
        case refuse
    }

    package enum RefusalPoint: String, Sendable, CaseIterable { case open, read }

    package var behaviour: Behaviour = .block
    package var eagainAt: RefusalPoint = .open
    /// How long a read waits for a restore; nil for ever.
    package var waitMax: Duration? = .seconds(300)
    /// Days that a copy restored by a read is to last, clamped to what the class allows.
    package var days: Int = 3
    /// Tier for restores by reads; nil, or one that the class does not have, is the class's own default.
    package var tier: RestoreTier?
    /// Whose reads never restore.
    package var denied = RestoreDenial.standard
    /// How much reads may restore; nil for any amount.
    package var budget: RestoreBudget?
    package var ahead: RestoreAhead = .off

    package init() {}

    /// Keeps every wait below the time after which the kernel would abort the whole mount for one unanswered request
    /// (`fs.fuse.*_request_timeout`, 0 for never; the maximum binds the default, and stands in for one of 0). Answers
    /// whether that shortened `waitMax`. The kernel looks every 15 s, so 20 s are left.
    package mutating func fit(kernelDefaultSeconds: Int, kernelMaximumSeconds: Int) -> Bool {
        let limits = [kernelDefaultSeconds, kernelMaximumSeconds].filter { $0 > 0 }
        guard let limit = limits.min() else { return false }
        let longest = Duration.seconds(max(limit - 20, 1))
        if let waitMax, waitMax <= longest { return false }
        waitMax = longest
        return true
    }

    func order(_ rules: ArchiveRules) -> RestoreOrder { rules.clamped(days: days, tier: tier) }

    /// Whether a restore by a read may be waited for: its longest documented time fits.
    func isWorthWaiting(_ rules: ArchiveRules) -> Bool {
        guard behaviour == .block else { return false }
        guard let waitMax else { return true }
        guard let longest = rules.longest(order(rules).tier) else { return false }
        return longest <= waitMax
    }
}
