import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

private let tree = ObjectKey("dir/")

@Suite("what people are told of restores")
struct SummaryTests {
    @Test("waiters are told with who they are, the longest first; who only asks is none")
    func waiters() async throws {
        let fixture = try EngineFixture()
        let keys = fixture.put(2)
        try await fixture.ask(keys[0])
        #expect(await fixture.engine.whoWaits().isEmpty)
        let first = fixture.read(keys[0])
        #expect(await eventually { await fixture.engine.whoWaits().count == 1 })
        await fixture.pass(.seconds(5))
        let second = fixture.read(keys[1])
        #expect(await eventually { await fixture.engine.whoWaits().count == 2 })
        let waiters = await fixture.engine.whoWaits()
        #expect(waiters.map(\.key) == keys && waiters[0].caller == "a test")
        #expect(waiters[1].since - waiters[0].since == .seconds(5))
        for reader in [first, second] {
            reader.cancel()
            _ = await reader.result
        }
        #expect(await fixture.engine.whoWaits().isEmpty)
    }

    @Test("lanes are told by name, with their rates and the bytes of the day where there is a ceiling")
    func lanes() async throws {
        let fixture = try EngineFixture()
        let cold = fixture.put(1, bytes: 7)[0]
        let archive = fixture.put(1, class: "Archive", below: "a/", bytes: 9)[0]
        #expect(await fixture.engine.laneSummaries().isEmpty)
        try await fixture.ask(cold)
        try await fixture.ask(archive, tier: nil)
        let lanes = await fixture.engine.laneSummaries()
        #expect(lanes.map(\.name) == ["oss-archive", "oss-cold-archive"])
        #expect(lanes.map(\.perSecond) == [1000, 500] && lanes.map(\.perSecondMax) == [1000, 500])
        #expect(lanes.map(\.bytesToday) == [0, 7] && lanes.map(\.bytesPerDay) == [nil, 100_000_000_000_000])
        #expect(lanes.allSatisfy { $0.pauseReason == nil })
    }

    @Test("a request's end is estimated once all its objects are asked for, from the slowest")
    func eta() async throws {
        let fixture = try EngineFixture()
        fixture.put(2)
        fixture.put(1, class: "Archive", below: "dir/a")
        let request = try await fixture.engine.restore(
            below: tree, RestoreWish(tier: .bulk), for: Requester(.command, "me"))
        #expect(await fixture.passTime { fixture.archive.submissions.count == 3 })
        await fixture.settle()
        let summary = try await fixture.request(request)
        #expect(summary.requester == "me" && summary.origin == .command && summary.finishedAt == nil)
        let eta = try #require(summary.eta)
        #expect(eta - summary.createdAt >= .seconds(12 * 3600) && eta - summary.createdAt < .seconds(12 * 3600 + 60))
    }

    @Test("a survey counts by class and what would be asked for, and asks for nothing")
    func survey() async throws {
        let fixture = try EngineFixture()
        let soon = fixture.clock.date + .seconds(3600)
        for (name, storageClass, restore, size) in [
            ("dir/1", "Archive", nil, 1), ("dir/2", "Archive", nil, 2), ("dir/3", "Archive", .ongoing, 4),
            ("dir/4", "ColdArchive", .restored(until: soon), 8), ("dir/5", "ColdArchive", .restored(until: nil), 16),
            ("dir/6", "Standard", nil, 32), ("single", "ColdArchive", nil, 64),
        ] as [(String, String, RestoreHeader?, UInt64)] {
            fixture.store.put(name, class: storageClass, restore: restore)
            fixture.store.change(ObjectKey(name)) { $0.sizeBytes = size }
        }
        let survey = try await fixture.engine.survey(
            RestoreWish(days: 30, tier: .bulk),
            [RestoreScope(.tree, tree)] + ["single", "none"].map { RestoreScope(.object, ObjectKey($0)) })
        let archive = try #require(survey.rows.first { $0.storageClass.name == "Archive" })
        #expect(archive.order == RestoreOrder(days: 7, tier: nil) && archive.longest == .seconds(60))
        #expect(archive.frozen == Tally(objects: 2, bytes: 3) && archive.restoring == Tally(objects: 1, bytes: 4))
        let cold = try #require(survey.rows.first { $0.storageClass.name == "ColdArchive" })
        #expect(cold.frozen == Tally(objects: 1, bytes: 64) && cold.extended == Tally(objects: 1, bytes: 8))
        #expect(cold.restored == Tally(objects: 1, bytes: 16) && cold.longest == .seconds(12 * 3600))
        #expect(survey.rows.count == 2 && survey.online == Tally(objects: 1, bytes: 32))
        #expect(survey.missing == [ObjectKey("none")])
        #expect(fixture.store.orders.isEmpty)
        #expect(try await fixture.engine.requests().isEmpty)
    }

    @Test("a directory's counts are the store's word, and the queue's for what the store does not know")
    func counts() async throws {
        let fixture = try EngineFixture()
        let keys = fixture.put(5, bytes: 3)
        fixture.store.put("dir/hot", [1])
        fixture.archive.finish(keys[0])
        try await fixture.ask(keys[1])
        fixture.store.script { call throws(StoreError) in
            guard case .restore(let key, _) = call else { return }
            throw StoreError(key == keys[2] ? .throttled : .denied, code: "No", message: "", retryAfter: .seconds(3600))
        }
        _ = await #expect(throws: RestoreError.self) { try await fixture.ask(keys[3]) }
        let asker = Task { try await fixture.ask(keys[2]) }
        #expect(try await eventually { try await fixture.row(keys[2])?.state == .queued })
        let counts = try await fixture.engine.counts(below: tree)
        #expect(
            "\(counts)" == "objects=6 bytes=16 frozen=1 queued=1 restoring=1 restored=1 failed=1")
        asker.cancel()
        _ = await asker.result
    }
}
