package import ThawCore

/// The dialect an endpoint speaks.
package enum Dialect: String, Sendable, CaseIterable {
    case oss, s3
}

/// A storage class by the provider's own word (`ColdArchive`, `GLACIER`). Unknown words are kept as they are.
package struct StorageClass: Hashable, Sendable {
    package let name: String
    package init(_ name: String) { self.name = name }
}

/// How fast, and at what price, a provider is asked to restore.
package enum RestoreTier: String, Sendable, CaseIterable, Hashable {
    case expedited = "Expedited"
    case standard = "Standard"
    case bulk = "Bulk"
}

/// What a provider documents about restoring one archive class.
package struct ArchiveRules: Sendable {
    /// Days that a restored copy may be asked to last.
    package let days: ClosedRange<Int>
    /// Tiers it takes, with the longest documented time of each. Empty for a class without tiers.
    package let tiers: [(tier: RestoreTier, longest: Duration)]
    /// The longest documented time when no tier can be named (OSS Archive).
    package let longestWithoutTier: Duration?
    package let defaultTier: RestoreTier?

    package init(
        days: ClosedRange<Int>, tiers: [(tier: RestoreTier, longest: Duration)], longestWithoutTier: Duration?,
        defaultTier: RestoreTier?
    ) {
        self.days = days
        self.tiers = tiers
        self.longestWithoutTier = longestWithoutTier
        self.defaultTier = defaultTier
    }

    /// The longest documented time of a restore with this tier (nil: the default); nil when the class does not take
    /// the tier.
    package func longest(_ tier: RestoreTier?) -> Duration? {
        guard let tier = tier ?? defaultTier else { return longestWithoutTier }
        return tiers.first { $0.tier == tier }?.longest
    }
}

extension StorageClass {
    /// The rules of an archive class in this dialect, or nil for a class that is readable at once (and for an
    /// unknown word, which counts as online until a GET says otherwise). `INTELLIGENT_TIERING` is online here: only
    /// `x-amz-archive-status` on a HEAD tells that such an object is archived.
    package func archiveRules(_ dialect: Dialect) -> ArchiveRules? {
        switch (dialect, name) {
        case (.oss, "Archive"):
            ArchiveRules(days: 1...7, tiers: [], longestWithoutTier: .seconds(60), defaultTier: nil)
        case (.oss, "ColdArchive"):
            ArchiveRules(
                days: 1...365,
                tiers: [(.expedited, .seconds(3600)), (.standard, .seconds(5 * 3600)), (.bulk, .seconds(12 * 3600))],
                longestWithoutTier: nil, defaultTier: .standard)
        case (.oss, "DeepColdArchive"):
            ArchiveRules(
                days: 1...365,
                tiers: [(.expedited, .seconds(12 * 3600)), (.standard, .seconds(48 * 3600))],
                longestWithoutTier: nil, defaultTier: .standard)
        case (.s3, "GLACIER"):
            ArchiveRules(
                days: 1...Int(Int32.max),
                tiers: [(.expedited, .seconds(300)), (.standard, .seconds(5 * 3600)), (.bulk, .seconds(12 * 3600))],
                longestWithoutTier: nil, defaultTier: .standard)
        case (.s3, "DEEP_ARCHIVE"):
            ArchiveRules(
                days: 1...Int(Int32.max),
                tiers: [(.standard, .seconds(12 * 3600)), (.bulk, .seconds(48 * 3600))],
                longestWithoutTier: nil, defaultTier: .standard)
        default: nil
        }
    }
}

/// What `x-oss-restore`, `x-amz-restore`, `RestoreInfo` or `RestoreStatus` says of an object.
package enum RestoreHeader: Hashable, Sendable {
    case ongoing
    /// A readable copy exists; nil when the provider gave no expiry date.
    case restored(until: Timestamp?)
}
