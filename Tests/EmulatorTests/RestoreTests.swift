import Testing
import ThawCore
import Wire

@testable import Emulator

private let now = Timestamp(seconds: 1_800_000_000)
private let hour = Duration.seconds(3600)
private let day = Duration.seconds(86400)

private func frozen(_ storageClass: String) -> ArchiveRecord {
    ArchiveRecord(storageClass: StorageClass(storageClass))
}

/// The record after a restore that was accepted at `now`.
private func restoring(_ storageClass: String, days: Int = 1, tier: String? = nil) throws -> ArchiveRecord {
    var record = frozen(storageClass)
    guard case .started(let restore) = record.restoring(RestoreAsk(days: days, tier: tier), at: now) else {
        throw Refused()
    }
    record.restore = restore
    return record
}

private struct Refused: Error {}

@Suite struct RestoreTests {
    @Test(
        "a restore takes the documented time of its class and tier",
        arguments: [
            ("Archive", nil, Duration.seconds(60)),
            ("ColdArchive", "Expedited", hour), ("ColdArchive", "Standard", hour * 5),
            ("ColdArchive", nil, hour * 5),
            ("ColdArchive", "Bulk", hour * 12),
            ("DeepColdArchive", "Expedited", hour * 12), ("DeepColdArchive", nil, hour * 48),
            ("GLACIER", "Expedited", .seconds(300)), ("GLACIER", nil, hour * 5),
            ("GLACIER", "Bulk", hour * 12),
            ("DEEP_ARCHIVE", "Standard", hour * 12), ("DEEP_ARCHIVE", "Bulk", hour * 48),
        ] as [(String, String?, Duration)]
    )
    func documentedTimes(storageClass: String, tier: String?, duration: Duration) throws {
        let record = try restoring(storageClass, days: 2, tier: tier)
        #expect(record.state(at: now) == .restoring)
        #expect(record.state(at: now + duration - .nanoseconds(1)) == .restoring)
        let expiry = now + duration + day * 2
        #expect(record.state(at: now + duration) == .restored(until: expiry))
        #expect(record.state(at: expiry - .nanoseconds(1)) == .restored(until: expiry))
        #expect(record.state(at: expiry) == .frozen)
    }

    @Test(
        "a second restore is refused while the first goes on, and extends its window once it is done"
    )
    func again() throws {
        var record = try restoring("ColdArchive", days: 3)
        #expect(record.restoring(RestoreAsk(days: 3), at: now + hour) == .refused(.inProgress))
        let warm = now + hour * 6
        guard case .extended(let extended) = record.restoring(RestoreAsk(days: 10), at: warm) else {
            throw Refused()
        }
        #expect(extended.expiry == warm + day * 10)
        record.restore = extended
        guard case .started = record.restoring(RestoreAsk(days: 1), at: warm + day * 10) else {
            throw Refused()
        }
    }

    @Test("a restored Archive object stays for seven days in all")
    func archiveWindow() throws {
        let record = try restoring("Archive", days: 7)
        let ready = now + .seconds(60)
        guard case .extended(let extended) = record.restoring(RestoreAsk(days: 7), at: ready + day * 5) else {
            throw Refused()
        }
        #expect(extended.expiry == ready + day * 7)
    }

    @Test("a tier may rise while the restore goes on, and never sink")
    func upgrade() throws {
        let record = try restoring("ColdArchive", days: 2, tier: "Standard")
        let later = now + hour
        #expect(record.restoring(RestoreAsk(days: 2, tier: "Bulk"), at: later) == .refused(.tierLowered))
        guard case .started(let raised) = record.restoring(RestoreAsk(days: 2, tier: "Expedited"), at: later)
        else {
            throw Refused()
        }
        #expect(raised.ready == later + hour)
        #expect(raised.expiry == later + hour + day * 2)
        #expect(raised.tier == .expedited)
    }

    @Test("raising the tier late does not make the restore later")
    func lateUpgrade() throws {
        let record = try restoring("ColdArchive", tier: "Standard")
        let later = now + hour * 5 - .seconds(1)
        guard case .started(let raised) = record.restoring(RestoreAsk(days: 1, tier: "Expedited"), at: later)
        else {
            throw Refused()
        }
        #expect(raised.ready == now + hour * 5)
    }

    @Test(
        "what a class does not take is refused",
        arguments: [
            ("Standard", RestoreAsk(), .notArchived), ("STANDARD", RestoreAsk(days: 1), .notArchived),
            ("UNHEARD_OF", RestoreAsk(days: 1), .notArchived),
            ("INTELLIGENT_TIERING", RestoreAsk(), .notArchived),
            ("Archive", RestoreAsk(days: 0), .days(1...7)), ("Archive", RestoreAsk(days: 8), .days(1...7)),
            ("Archive", RestoreAsk(days: 1, tier: "Standard"), .tierNotAllowed),
            ("ColdArchive", RestoreAsk(days: 366), .days(1...365)),
            ("ColdArchive", RestoreAsk(days: 1, tier: "Fast"), .tier("Fast")),
            ("DeepColdArchive", RestoreAsk(days: 1, tier: "Bulk"), .tier("Bulk")),
            ("DEEP_ARCHIVE", RestoreAsk(days: 1, tier: "Expedited"), .tier("Expedited")),
        ] as [(String, RestoreAsk, RestoreRefusal)]
    )
    func refusals(storageClass: String, ask: RestoreAsk, refusal: RestoreRefusal) {
        #expect(frozen(storageClass).restoring(ask, at: now) == .refused(refusal))
    }

    @Test("an archived Intelligent-Tiering object comes back for good, and takes no days")
    func intelligentTiering() throws {
        var record = ArchiveRecord(
            storageClass: StorageClass("INTELLIGENT_TIERING"),
            archiveStatus: "ARCHIVE_ACCESS"
        )
        #expect(record.state(at: now) == .frozen)
        #expect(record.restoring(RestoreAsk(days: 1), at: now) == .refused(.daysNotAllowed))
        guard case .started(let restore) = record.restoring(RestoreAsk(tier: "Bulk"), at: now) else {
            throw Refused()
        }
        record.restore = restore
        #expect(record.archiveStatus(at: now) == "ARCHIVE_ACCESS")
        #expect(record.state(at: now + hour * 12) == .online)
        #expect(record.archiveStatus(at: now + hour * 12) == nil)
        #expect(record.state(at: now + day * 1000) == .online)
    }

    @Test("a restore that fails ends frozen, and can be asked for again")
    func failure() throws {
        var record = frozen("Archive")
        guard case .started(let restore) = record.restoring(RestoreAsk(), at: now, fails: true) else {
            throw Refused()
        }
        record.restore = restore
        #expect(record.state(at: now) == .restoring)
        #expect(record.state(at: now + .seconds(60)) == .frozen)
        guard case .started = record.restoring(RestoreAsk(), at: now + .seconds(60)) else { throw Refused() }
    }

    @Test("the restore header tells of a restore while it matters, and of nothing before and after")
    func header() throws {
        let record = try restoring("Archive")
        #expect(frozen("Archive").restoreHeader(at: now) == nil)
        #expect(record.restoreHeader(at: now) == .ongoing)
        let expiry = now + .seconds(60) + day
        #expect(record.restoreHeader(at: now + .seconds(60)) == .restored(until: expiry))
        #expect(record.restoreHeader(at: expiry) == nil)
    }
}
