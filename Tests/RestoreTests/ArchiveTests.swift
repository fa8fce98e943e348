import ObjectStore
import Testing
import ThawCore
import Wire

@testable import Restore

private let now = Timestamp(seconds: 1_700_000_000)

@Suite("archive states")
struct ArchiveStateTests {
    private func record(_ name: String, _ restore: RestoreHeader?, _ archiveStatus: String? = nil) -> ObjectRecord {
        ObjectRecord(
            sizeBytes: 1, modified: now, etag: "e", storageClass: StorageClass(name), restore: restore,
            archiveStatus: archiveStatus)
    }

    private let cold: [(Dialect, String)] = [
        (.oss, "Archive"), (.oss, "ColdArchive"), (.oss, "DeepColdArchive"), (.s3, "GLACIER"), (.s3, "DEEP_ARCHIVE"),
        (.cos, "GLACIER"), (.cos, "ACCELERATED"),
    ]
    private let warm: [(Dialect, String)] = [
        (.oss, "Standard"), (.oss, "IA"), (.oss, "GLACIER"), (.oss, "archive"), (.s3, "STANDARD"), (.s3, "GLACIER_IR"),
        (.s3, "INTELLIGENT_TIERING"), (.s3, "ColdArchive"), (.s3, ""), (.s3, "SOMETHING_NEW"),
        (.s3, "ACCELERATED"), (.cos, "STANDARD"), (.cos, "DEEP_ARCHIVE"),
    ]

    @Test("without a restore header the class decides")
    func byClass() {
        for (dialect, name) in cold {
            let context = ArchiveContext(dialect: dialect, hasDirectRead: false)
            #expect(context.state(of: record(name, nil), at: now) == .frozen, "\(dialect) \(name)")
        }
        for (dialect, name) in warm {
            let context = ArchiveContext(dialect: dialect, hasDirectRead: false)
            #expect(context.state(of: record(name, nil), at: now) == .online, "\(dialect) \(name)")
        }
    }

    @Test("the restore header decides over the class, an expired one does not")
    func byHeader() {
        for (dialect, name) in cold + warm {
            let context = ArchiveContext(dialect: dialect, hasDirectRead: false)
            let without = context.state(of: record(name, nil), at: now)
            let later = now + .seconds(1)
            let lapsing = now - .seconds(60)
            let lapsed = now - .seconds(61)
            for (header, expected) in [
                (RestoreHeader.ongoing, ArchiveState.restoring), (.restored(until: nil), .restored(until: nil)),
                (.restored(until: later), .restored(until: later)), (.restored(until: lapsing), .restored(until: lapsing)),
                (.restored(until: lapsed), without),
            ] {
                #expect(context.state(of: record(name, header), at: now) == expected, "\(dialect) \(name) \(header)")
            }
        }
    }

    @Test("direct reading of OSS Archive makes that class online, and no other")
    func directRead() {
        for (dialect, name) in cold {
            let context = ArchiveContext(dialect: dialect, hasDirectRead: true)
            let expected: ArchiveState = dialect == .oss && name == "Archive" ? .online : .frozen
            #expect(context.state(of: record(name, nil), at: now) == expected, "\(dialect) \(name)")
        }
        let context = ArchiveContext(dialect: .oss, hasDirectRead: true)
        #expect(context.state(of: record("Archive", .ongoing), at: now) == .restoring)
    }

    @Test(
        "an Intelligent-Tiering object is frozen while its archive status says so",
        arguments: [
            (nil, false), ("", false), ("ARCHIVE_ACCESS", true), ("DEEP_ARCHIVE_ACCESS", true), ("OTHER", false),
        ] as [(String?, Bool)])
    func intelligentTiering(status: String?, isFrozen: Bool) {
        let context = ArchiveContext(dialect: .s3, hasDirectRead: false)
        let state = context.state(of: record("INTELLIGENT_TIERING", nil, status), at: now)
        #expect(state == (isFrozen ? .frozen : .online))
    }

    @Test("names and readability")
    func names() {
        let states: [(ArchiveState, String, Bool)] = [
            (.online, "online", true), (.frozen, "frozen", false), (.restoring, "restoring", false),
            (.restored(until: nil), "restored", true), (.restored(until: now), "restored", true),
        ]
        for (state, name, isReadable) in states {
            #expect(state.name == name)
            #expect(state.isReadable == isReadable)
        }
    }
}

@Suite("what a class takes")
struct ArchiveRulesTests {
    private func rules(_ dialect: Dialect, _ name: String) throws -> ArchiveRules {
        try #require(StorageClass(name).archiveRules(dialect))
    }

    @Test("a wish for many objects is brought within what each class takes")
    func clamped() throws {
        let archive = try rules(.oss, "Archive")
        #expect(archive.clamped(days: 30, tier: .expedited) == RestoreOrder(days: 7, tier: nil))
        #expect(archive.clamped(days: 0, tier: nil) == RestoreOrder(days: 1, tier: nil))
        let deep = try rules(.oss, "DeepColdArchive")
        #expect(deep.clamped(days: 400, tier: .bulk) == RestoreOrder(days: 365, tier: .standard))
        #expect(deep.clamped(days: 3, tier: .expedited) == RestoreOrder(days: 3, tier: .expedited))
        let glacier = try rules(.s3, "DEEP_ARCHIVE")
        #expect(glacier.clamped(days: 400, tier: .expedited) == RestoreOrder(days: 400, tier: .standard))
        let tiering = try #require(ArchiveRules.intelligentTiering("ARCHIVE_ACCESS"))
        #expect(tiering.clamped(days: 3, tier: .bulk) == RestoreOrder(days: nil, tier: .bulk))
    }

    @Test("a wish for one object is taken exactly, or refused with what is allowed")
    func exact() throws {
        let cold = try rules(.oss, "ColdArchive")
        #expect(try cold.exact(days: 365, tier: .bulk, default: 3) == RestoreOrder(days: 365, tier: .bulk))
        #expect(try cold.exact(days: nil, tier: nil, default: 3) == RestoreOrder(days: 3, tier: .standard))
        let archive = try rules(.oss, "Archive")
        #expect(try archive.exact(days: nil, tier: nil, default: 30) == RestoreOrder(days: 7, tier: nil))
        let tiering = try #require(ArchiveRules.intelligentTiering("DEEP_ARCHIVE_ACCESS"))
        let refused: [(ArchiveRules, Int?, RestoreTier?, String)] = [
            (cold, 0, nil, "1 to 365"), (cold, 366, nil, "1 to 365"), (archive, 8, nil, "1 to 7"),
            (archive, 1, .standard, "none"), (try rules(.s3, "DEEP_ARCHIVE"), nil, .expedited, "Standard, Bulk"),
            (tiering, 1, nil, "none"), (tiering, nil, .expedited, "Standard, Bulk"),
        ]
        for (rules, days, tier, words) in refused {
            let error = #expect(throws: RestoreError.self) { try rules.exact(days: days, tier: tier, default: 3) }
            guard case .invalidOrder(let reason) = error else {
                Issue.record("expected invalidOrder, not \(String(describing: error))")
                continue
            }
            #expect(reason.contains(words))
        }
    }

    @Test("an archived Intelligent-Tiering object has the times of the class that it is like, and S3's limits")
    func tieringIsLike() throws {
        for (status, name) in [("ARCHIVE_ACCESS", "GLACIER"), ("DEEP_ARCHIVE_ACCESS", "DEEP_ARCHIVE")] {
            let (tiering, alike) = (try #require(ArchiveRules.intelligentTiering(status)), try rules(.s3, name))
            #expect(tiering.tiers.map(\.times) == alike.tiers.map(\.times))
            #expect(tiering.limits == .s3)
        }
        #expect(ArchiveRules.unknown.shortest(nil) == .zero)
        #expect(ArchiveRules.unknown.limits.objectsPerSecond == 100)
    }

    @Test("documented times by tier; a tier that the class does not have has none")
    func longest() throws {
        #expect(try rules(.oss, "Archive").longest(nil) == .seconds(60))
        #expect(try rules(.oss, "ColdArchive").longest(nil) == .seconds(5 * 3600))
        #expect(try rules(.oss, "DeepColdArchive").longest(.bulk) == nil)
        #expect(try rules(.s3, "GLACIER").longest(.expedited) == .seconds(300))
    }
}

@Suite("what is written to user.thaw.restore")
struct RestoreWishTests {
    @Test(
        "nothing, days, a tier, in any order and case",
        arguments: [
            ("", RestoreWish()), ("days=7", RestoreWish(days: 7)), ("tier=Bulk", RestoreWish(tier: .bulk)),
            ("tier=bulk,days=30", RestoreWish(days: 30, tier: .bulk)),
            ("days=1,tier=EXPEDITED", RestoreWish(days: 1, tier: .expedited)),
        ])
    func parses(text: String, wish: RestoreWish) throws { #expect(try RestoreWish(parsing: text) == wish) }

    @Test(
        "anything else is refused and says why",
        arguments: [
            "days", "days=", "days=0", "days=-1", "days=1.5", "days=x", "days= 7", "days=99999999999999999999", "tier",
            "tier=", "tier=Slow", "Days=7", "7", "days:7", "days=7;tier=Bulk", "days=7=8", "\0",
            "days=1,", ",", "days=1,days=2", "tier=Bulk,tier=Bulk",
        ])
    func refuses(text: String) {
        let error = #expect(throws: RestoreError.self) { try RestoreWish(parsing: text) }
        guard case .invalidOrder(let reason) = error else {
            Issue.record("expected invalidOrder, not \(String(describing: error))")
            return
        }
        #expect(!reason.isEmpty)
    }
}

@Suite("when to look again")
struct PollScheduleTests {
    /// The times of all looks, until this long after the request.
    private func looks(_ shortest: Duration, _ longest: Duration, until end: Duration, jitter: Double) -> [Duration] {
        var looks: [Duration] = []
        var elapsed = Duration.zero
        while elapsed < end {
            elapsed += PollSchedule.delay(elapsed: elapsed, shortest: shortest, longest: longest, jitter: jitter)
            looks.append(elapsed)
        }
        return looks
    }

    @Test("a restore of a minute is looked at every two seconds or oftener", arguments: [0, 0.5, 0.999_999])
    func minute(jitter: Double) {
        let looks = looks(.zero, .seconds(60), until: .seconds(60), jitter: jitter)
        for (look, next) in zip(looks, looks.dropFirst()) { #expect(next - look <= .seconds(2)) }
        #expect(looks[0] <= .milliseconds(500) && looks.count <= 40)
    }

    @Test("one of half a day is looked at fewer than fifty times, one of two days hardly more often",
        arguments: [(0, 1), (2, 5), (5, 12), (0, 12), (0, 48)], [0, 0.999_999])
    func hours(times: (shortest: Int, longest: Int), jitter: Double) {
        let (shortest, longest) = (Duration.seconds(times.shortest * 3600), Duration.seconds(times.longest * 3600))
        let looks = looks(shortest, longest, until: longest, jitter: jitter)
        #expect(looks.count < (times.longest <= 12 ? 50 : 55))
        // Once it may be over, it is noticed within a fortieth of the longest time, or an hour.
        let within = min(longest / 40, .seconds(3600))
        for (look, next) in zip(looks, looks.dropFirst()) where look >= shortest { #expect(next - look <= within) }
        // What never ends is looked at less and less.
        #expect(self.looks(shortest, longest, until: longest * 10, jitter: jitter).count < 90 + 10 * times.longest)
    }
}
