package import ThawCore

/// The dialect an endpoint speaks.
package enum Dialect: String, Sendable, CaseIterable {
    case oss, s3
    /// Alibaba Archive Storage: vaults of archives, read by retrieval jobs.
    case oas
    /// IBM Cloud Object Storage.
    case cos

    /// Whether its requests, documents and errors are S3's, as far as it has them.
    package var speaksS3: Bool {
        switch self {
        case .oss, .oas: false
        case .s3, .cos: true
        }
    }
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
    /// Of IBM COS's class of that name, and of no other.
    case accelerated = "Accelerated"
}

/// What a provider documents about restoring one archive class.
package struct ArchiveRules: Sendable {
    /// Days that a restored copy may be asked to last.
    package let days: ClosedRange<Int>
    /// Tiers it takes. Empty for a class without tiers.
    package let tiers: [TierTimes]
    /// How long a restore takes when no tier is named, and there is no default (OSS Archive, IBM COS).
    package let timesWithoutTier: ClosedRange<Duration>?
    package let defaultTier: RestoreTier?
    package let limits: RestoreLimits

    /// How long the provider documents a restore with this tier to take.
    package struct TierTimes: Sendable {
        package let tier: RestoreTier
        package let times: ClosedRange<Duration>
        /// Zero where the provider names a longest time only.
        package var shortest: Duration { times.lowerBound }
        package var longest: Duration { times.upperBound }

        package init(_ tier: RestoreTier, _ times: ClosedRange<Duration>) {
            self.tier = tier
            self.times = times
        }
    }

    package init(
        days: ClosedRange<Int>, tiers: [TierTimes], timesWithoutTier: ClosedRange<Duration>? = nil,
        defaultTier: RestoreTier?, limits: RestoreLimits
    ) {
        self.days = days
        self.tiers = tiers
        self.timesWithoutTier = timesWithoutTier
        self.defaultTier = defaultTier
        self.limits = limits
    }

    /// The longest documented time of a restore with this tier (nil: the default); nil when the class does not take
    /// the tier.
    package func longest(_ tier: RestoreTier?) -> Duration? { times(tier)?.upperBound }

    /// Before this time a restore with this tier (nil: the default) is not documented to be over; zero when the
    /// provider names no shortest time, or the class does not take the tier.
    package func shortest(_ tier: RestoreTier?) -> Duration { times(tier)?.lowerBound ?? .zero }

    private func times(_ tier: RestoreTier?) -> ClosedRange<Duration>? {
        guard let tier = tier ?? defaultTier else { return timesWithoutTier }
        return tiers.first { $0.tier == tier }?.times
    }
}

/// How much a provider restores for one account in one region, as it documents it.
package struct RestoreLimits: Sendable, Hashable {
    /// What shares the limit; classes with the same lane have it together.
    package let lane: String
    /// Restore requests that are taken in one second.
    package let objectsPerSecond: Double
    /// Bytes that are restored in one day; nil when the provider names no such limit.
    package let bytesPerDay: UInt64?

    package init(lane: String, objectsPerSecond: Double, bytesPerDay: UInt64?) {
        self.lane = lane
        self.objectsPerSecond = objectsPerSecond
        self.bytesPerDay = bytesPerDay
    }

    /// No limit is documented: the rate is ours, so that a store is not stormed.
    package static let ossArchive = RestoreLimits(lane: "oss-archive", objectsPerSecond: 1000, bytesPerDay: nil)
    /// OSS documents 500 objects a second and 100 to 120 TB a day (Alibaba Cloud OSS, "Overview of storage classes").
    package static let ossColdArchive = RestoreLimits(
        lane: "oss-cold-archive", objectsPerSecond: 500, bytesPerDay: 100_000_000_000_000)
    /// OSS documents 100 objects a second and 10 to 15 TB a day (the same page).
    package static let ossDeepColdArchive = RestoreLimits(
        lane: "oss-deep-cold-archive", objectsPerSecond: 100, bytesPerDay: 10_000_000_000_000)
    /// S3 documents 1,000 restore requests a second, of all classes together (S3 User Guide, "Restoring an archived
    /// object", quotas).
    package static let s3 = RestoreLimits(lane: "s3", objectsPerSecond: 1000, bytesPerDay: nil)
    /// No limit is documented: the rate is ours.
    package static let oas = RestoreLimits(lane: "oas", objectsPerSecond: 100, bytesPerDay: nil)
    /// IBM documents no limit: the rate is ours, and lower than S3's, because its answers are asked for one by one.
    package static let cos = RestoreLimits(lane: "cos", objectsPerSecond: 100, bytesPerDay: nil)

    /// Each lane that has limits of its own.
    package static let known: [RestoreLimits] = [.ossArchive, .ossColdArchive, .ossDeepColdArchive, .s3, .cos, .oas]
}

extension StorageClass {
    /// The rules of an archive class in this dialect, or nil for a class that is readable at once (and for an
    /// unknown word, which counts as online until a GET says otherwise). `INTELLIGENT_TIERING` is online here: only
    /// `x-amz-archive-status` on a HEAD tells that such an object is archived.
    ///
    /// Sources: Alibaba Cloud OSS, "RestoreObject" (days, tiers and times); S3 User Guide, "Archive retrieval options";
    /// OAS API manual, "Jobs": about four hours, and neither days nor tiers can be asked for.
    /// IBM Cloud docs, "Archiving and accessing cold data" (times; the one tier of each class, which may be left out,
    /// and then is that of the bucket's policy).
    package func archiveRules(_ dialect: Dialect) -> ArchiveRules? {
        switch (dialect, name) {
        case (.oss, "Archive"):
            ArchiveRules(
                days: 1...7, tiers: [], timesWithoutTier: .zero ... .seconds(60), defaultTier: nil,
                limits: .ossArchive)
        case (.oss, "ColdArchive"):
            ArchiveRules(
                days: 1...365,
                tiers: [
                    .init(.expedited, .zero ... .hours(1)), .init(.standard, .hours(2) ... .hours(5)),
                    .init(.bulk, .hours(5) ... .hours(12)),
                ],
                defaultTier: .standard, limits: .ossColdArchive)
        case (.oss, "DeepColdArchive"):
            ArchiveRules(
                days: 1...365,
                tiers: [.init(.expedited, .zero ... .hours(12)), .init(.standard, .zero ... .hours(48))],
                defaultTier: .standard, limits: .ossDeepColdArchive)
        case (.s3, "GLACIER"):
            ArchiveRules(
                days: 1...Int(Int32.max), tiers: ArchiveRules.glacierTiers, defaultTier: .standard, limits: .s3)
        case (.s3, "DEEP_ARCHIVE"):
            ArchiveRules(
                days: 1...Int(Int32.max), tiers: ArchiveRules.deepArchiveTiers, defaultTier: .standard, limits: .s3)
        case (.oas, StorageClass.oasArchive.name):
            ArchiveRules(
                days: 0...0, tiers: [], timesWithoutTier: .hours(3) ... .hours(4), defaultTier: nil, limits: .oas)
        case (.cos, "GLACIER"): .cos(.init(.bulk, .zero ... .hours(12)))
        case (.cos, "ACCELERATED"): .cos(.init(.accelerated, .zero ... .hours(2)))
        default: nil
        }
    }

    /// Of everything in a vault that an archive holds. The product has no word for it.
    package static let oasArchive = StorageClass("Archive")
}

extension ArchiveRules {
    /// How long the output of a retrieval job can be read once it is there (OAS API manual, "Jobs").
    package static let oasOutputLife = Duration.hours(24)

    /// Of `GLACIER`, and of Intelligent-Tiering's Archive Access.
    package static let glacierTiers = [
        TierTimes(.expedited, .seconds(60) ... .seconds(300)), TierTimes(.standard, .hours(3) ... .hours(5)),
        TierTimes(.bulk, .hours(5) ... .hours(12)),
    ]
    /// Of `DEEP_ARCHIVE`, and of Intelligent-Tiering's Deep Archive Access.
    package static let deepArchiveTiers = [
        TierTimes(.standard, .zero ... .hours(12)), TierTimes(.bulk, .zero ... .hours(48)),
    ]

    /// Of a class of IBM COS, which has one tier. IBM names no largest number of days.
    fileprivate static func cos(_ tier: TierTimes) -> ArchiveRules {
        ArchiveRules(
            days: 1...Int(Int32.max), tiers: [tier], timesWithoutTier: tier.times, defaultTier: nil, limits: .cos)
    }
}

extension Duration {
    fileprivate static func hours(_ count: Int) -> Duration { .seconds(count * 3600) }
}

/// What `x-oss-restore`, `x-amz-restore`, `RestoreInfo` or `RestoreStatus` says of an object.
package enum RestoreHeader: Hashable, Sendable {
    case ongoing
    /// A readable copy exists; nil when the provider gave no expiry date.
    case restored(until: Timestamp?)
}
