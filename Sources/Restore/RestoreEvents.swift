internal import Metadata
internal import ObjectStore
internal import ThawCore
internal import Wire

/// What happens to an object under care. `RestoreRow.after` says what that makes of it: the restore machine, pure.
///
///     queued ──claim──▶ asking ──accepted──▶ restoring ──readable──▶ restored
///       ▲                 │ later, fallBack       │ frozen ×3           │ renew, more days
///       ├─────────────────┘                       ▼                     │
///       │                                       failed                  │
///       └───────────────────────────────────────────────────────────────┘
enum RestoreEvent: Sendable {
    /// The provider is at work: on this request (202), or on an earlier one (409), which may be somebody else's.
    case accepted(isOurs: Bool)
    /// 200: the copy is there, and lasts as long as was asked; until when, a look will tell.
    case extended
    /// The provider has no capacity for the tier, or would not raise it; what it works on goes on.
    case tierRefused
    /// The store was busy or could not be reached: again then.
    case later(Timestamp, reason: String, isStrike: Bool)
    case failed(String)
    /// A look saw it restoring.
    case ongoing
    /// A look could not be had.
    case unseen
    /// A look saw a readable object: until when, if it is a copy.
    case readable(until: Timestamp?)
    /// A look saw no restore at all. One may be a store that is not yet consistent.
    case frozen
    /// After a crash: as far as is known, it never got there.
    case unsent
    /// A copy that somebody still wants is near its end.
    case renew
}

/// What decides what an event makes of a row, besides the row.
struct RestoreMoment: Sendable {
    let context: ArchiveContext
    let now: Timestamp
    /// Spreads many objects' looks over time; the same for those that were looked at together.
    let jitter = Double.random(in: 0..<1)
}

extension RestoreRow {
    static let strikesMax = 3

    func after(_ event: RestoreEvent, _ moment: RestoreMoment) -> RestoreRow {
        var row = self
        let rules = moment.context.rules(of: row)
        switch event {
        // Seen before a faster tier was wished for: that still waits to be asked for.
        case .ongoing where state == .queued, .unseen where state == .queued, .frozen where state == .queued:
            return row
        // Seen while that is on its way: what becomes of it, its own reply says.
        case .ongoing where state == .asking && slowTier != nil, .unseen where state == .asking,
            .frozen where state == .asking:
            return row
        // A look saw the copy meanwhile.
        case .tierRefused where state != .asking:
            return row
        // Wished for anew since it was due.
        case .renew where state != .restored:
            return row
        case .accepted(let isOurs):
            row.state = .restoring
            row.askedAt = moment.now
            // A raised tier leaves the days as they were, and somebody else's restore has days of its own.
            if isOurs, slowTier == nil { row.settleDays() }
            row.slowTier = nil
            row.strikes = 0
            row.error = nil
            row.copyUntil = nil
            row.dueAt = rules.nextLook(tier: order.tier, askedAt: moment.now, now: moment.now, jitter: moment.jitter)
        case .extended:
            row.settleDays()
            row.state = .restoring
            row.askedAt = moment.now
            row.slowTier = nil
            row.strikes = 0
            row.error = nil
            row.dueAt = moment.now
        case .tierRefused:
            if let slowTier {
                row.order.tier = slowTier
                row.state = .restoring
                row.slowTier = nil
                row.strikes = 0
                row.error = nil
                row.dueAt = .epoch
            } else {
                row.order.tier = rules.defaultTier
                row.state = .queued
            }
        case .later(let time, let reason, let isStrike):
            row.state = .queued
            row.dueAt = time
            guard isStrike else { break }
            row.error = reason
            row.strikes += 1
        case .failed(let reason):
            row.error = reason
            row.state = copyUntil == nil ? .failed : .restored
            row.dueAt = copyUntil == nil ? moment.now : .distantFuture
        case .ongoing:
            row.state = .restoring
            row.strikes = 0
            row.lookAgain(rules, moment)
        case .unseen:
            row.lookAgain(rules, moment)
        case .readable(let until):
            // The store has just taken the days.
            if state == .asking { row.settleDays() }
            row.becomeReadable(until, moment.now)
        case .unsent:
            row.state = .queued
            row.dueAt = .epoch
        case .frozen:
            row.strikes += 1
            row.dueAt = moment.now + .seconds(2)
            if row.strikes >= Self.strikesMax {
                row.state = .failed
                row.error = "the provider ended the restore without a readable copy"
                row.dueAt = moment.now
            }
        case .renew:
            row.state = .queued
            row.isOneOfMany = true
            row.dueAt = .epoch
        }
        if row.state == .queued { row.lane = rules.limits.lane }
        return row
    }

    /// The provider was asked for these days.
    private mutating func settleDays() {
        if let more = moreDays, more <= order.days ?? 0 { moreDays = nil }
    }

    private mutating func lookAgain(_ rules: ArchiveRules, _ moment: RestoreMoment) {
        // Nobody knows when somebody else asked: no later than now.
        askedAt = askedAt ?? moment.now
        dueAt = rules.nextLook(
            tier: order.tier, askedAt: askedAt ?? moment.now, now: moment.now, jitter: moment.jitter)
    }

    private mutating func becomeReadable(_ until: Timestamp?, _ now: Timestamp) {
        let before = copyUntil
        copyUntil = until ?? .epoch
        strikes = 0
        error = nil
        slowTier = nil
        let more = moreDays
        moreDays = nil
        if let more, RestoreOrder(days: more, tier: nil).isLonger(than: until, at: now) {
            order.days = more
            state = .queued
            dueAt = .epoch
            return
        }
        state = .restored
        dueAt = .distantFuture
        guard let until else { return }
        // A copy that was asked for again and does not last longer has reached what its class allows.
        if let before, before > .epoch, until < before + .seconds(60) { return }
        dueAt = PollSchedule.renewal(until: until, at: now)
    }

    /// A wish for an object that is under care already; nil to leave it as it is. A read wants the object readable on
    /// whatever terms somebody has asked for it; a command's days and tier count.
    static func merge(_ known: RestoreRow?, _ wished: RestoreRow, isNamed: Bool) -> RestoreRow? {
        guard var row = known else { return wished }
        if wished.state == .failed, row.state.isPending { return row }
        row.isOneOfMany = row.isOneOfMany && wished.isOneOfMany
        switch row.state {
        case .restored, .failed:
            if row.state == .restored, wished.state == .restored { return row }
            var fresh = wished
            fresh.id = row.id
            // Who wanted the copy that was there still does.
            if row.state == .restored { fresh.order.days = Self.longer(row.order.days, wished.order.days) }
            return fresh
        case .queued:
            guard isNamed else { return row }
            row.moreDays = Self.longer(row.moreDays, wished.order.days)
            if row.slowTier == nil { row.order.days = Self.longer(row.order.days, wished.order.days) }
            if isFaster(wished.order.tier, than: row.order.tier) { row.order.tier = wished.order.tier }
        case .asking, .restoring:
            guard isNamed else { return row }
            row.moreDays = Self.longer(row.moreDays, wished.order.days)
            guard row.state == .restoring, isFaster(wished.order.tier, than: row.order.tier) else { return row }
            row.slowTier = row.order.tier
            row.order.tier = wished.order.tier
            row.state = .queued
            row.lane = wished.lane
            row.dueAt = .epoch
        }
        return row
    }

    private static func longer(_ days: Int?, _ others: Int?) -> Int? {
        guard let days, let others else { return days ?? others }
        return max(days, others)
    }

    static func isFaster(_ tier: RestoreTier?, than other: RestoreTier?) -> Bool {
        let ranks: [RestoreTier: Int] = [.bulk: 0, .standard: 1, .expedited: 2, .accelerated: 2]
        guard let tier, let other else { return false }
        return (ranks[tier] ?? 0) > (ranks[other] ?? 0)
    }
}

extension Timestamp {
    static let distantFuture = Timestamp(nanoseconds: .max)
}

extension ArchiveContext {
    func rules(of row: RestoreRow) -> ArchiveRules { rules(of: row.storageClass) }

    /// The rules for an object of which the class was remembered. Which of its archive tiers an object of
    /// Intelligent-Tiering was in is not; the quicker one's times are looked at more often than needed.
    func rules(of storageClass: StorageClass) -> ArchiveRules {
        if let rules = storageClass.archiveRules(dialect) { return rules }
        guard storageClass.name == "INTELLIGENT_TIERING" else { return .unknown }
        return .intelligentTiering("ARCHIVE_ACCESS") ?? .unknown
    }
}
