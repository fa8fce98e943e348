package import ObjectStore
package import ThawCore
package import Wire

/// Where an object stands between the archive and its readers. The storage class alone does not decide it: the
/// restore header does, and a GET that answers `InvalidObjectState` wins over everything cached.
package enum ArchiveState: Sendable, Equatable {
    /// Readable now, and needs no restore.
    case online
    case frozen
    case restoring
    /// A temporary copy is readable; until when, if the provider said.
    case restored(until: Timestamp?)

    /// Readable without asking for anything.
    package var isReadable: Bool {
        switch self {
        case .online, .restored: true
        case .frozen, .restoring: false
        }
    }

    /// The value of `user.thaw.restore_status`.
    package var name: String {
        switch self {
        case .online: "online"
        case .frozen: "frozen"
        case .restoring: "restoring"
        case .restored: "restored"
        }
    }
}

/// What decides an object's state besides the object itself.
package struct ArchiveContext: Sendable {
    package var dialect: Dialect
    /// OSS serves class Archive of this bucket without a restore (`bucketArchiveDirectRead`).
    package var hasDirectRead: Bool

    package init(dialect: Dialect, hasDirectRead: Bool) {
        self.dialect = dialect
        self.hasDirectRead = hasDirectRead
    }

    /// A copy is trusted this long past its expiry date, for clocks that differ; a GET decides in the end.
    private static let expiryAllowance = Duration.seconds(60)

    package func state(of record: ObjectRecord, at now: Timestamp) -> ArchiveState {
        switch record.restore {
        case .ongoing: return .restoring
        case .restored(let until):
            if let until, now > until + Self.expiryAllowance { break }
            return .restored(until: until)
        case nil: break
        }
        return rules(for: record) == nil ? .online : .frozen
    }

    /// The restore rules of an object that needs restoring to be read; nil for one that does not.
    package func rules(for record: ObjectRecord) -> ArchiveRules? {
        if hasDirectRead, dialect == .oss, record.storageClass.name == "Archive" { return nil }
        return record.storageClass.archiveRules(dialect) ?? ArchiveRules.intelligentTiering(record.archiveStatus)
    }
}

extension ArchiveRules {
    /// An archived Intelligent-Tiering object goes back to its frequent tier for good, so no days can be asked for.
    /// Times: S3 User Guide, "Archive retrieval options".
    static func intelligentTiering(_ archiveStatus: String?) -> ArchiveRules? {
        switch archiveStatus {
        case "ARCHIVE_ACCESS":
            ArchiveRules(days: 0...0, tiers: glacierTiers, defaultTier: .standard, limits: .s3)
        case "DEEP_ARCHIVE_ACCESS":
            ArchiveRules(days: 0...0, tiers: deepArchiveTiers, defaultTier: .standard, limits: .s3)
        default: nil
        }
    }

    /// For an object that a GET calls frozen although its class is none that we know: nothing is assumed but that it
    /// can be asked for, takes long, and is asked for no faster than the slowest class that we know.
    package static let unknown = ArchiveRules(
        days: 1...365, tiers: [], timesWithoutTier: .zero ... .seconds(48 * 3600), defaultTier: nil,
        limits: RestoreLimits(
            lane: "unknown", objectsPerSecond: RestoreLimits.ossDeepColdArchive.objectsPerSecond, bytesPerDay: nil))

    private var takesDays: Bool { days.upperBound > 0 }

    /// The order nearest to a wish that this class can take: for wishes made for many objects at once, and by reads.
    package func clamped(days wishedDays: Int, tier: RestoreTier?) -> RestoreOrder {
        let taken = tiers.isEmpty ? nil : tiers.first { $0.tier == tier }?.tier ?? defaultTier
        return RestoreOrder(
            days: takesDays ? min(max(wishedDays, days.lowerBound), days.upperBound) : nil, tier: taken)
    }

    /// The order of a wish made for one object; what the class does not allow is an error that says what it does.
    package func exact(
        days wishedDays: Int?, tier: RestoreTier?, default fallback: Int
    ) throws(RestoreError) -> RestoreOrder {
        if let wishedDays, !takesDays || !days.contains(wishedDays) {
            let allowed = takesDays ? "\(days.lowerBound) to \(days.upperBound)" : "none for this class"
            throw .invalidOrder("days=\(wishedDays): allowed are \(allowed)")
        }
        if let tier, !tiers.contains(where: { $0.tier == tier }) {
            let allowed = tiers.isEmpty ? "none for this class" : tiers.map(\.tier.rawValue).joined(separator: ", ")
            throw .invalidOrder("tier=\(tier.rawValue): allowed are \(allowed)")
        }
        return clamped(days: wishedDays ?? fallback, tier: tier)
    }
}
