import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

private let now = Timestamp(seconds: 1_800_000_000)

@Suite("the restore queue: requests and their end")
struct RequestTests {
    private let tree = ScopeRow(kind: .tree, key: ObjectKey("a/"), version: nil)

    private func collect(
        _ names: [String], _ fixture: Fixture, into request: Int64, _ progress: MetadataWriter.Progress
    ) async throws -> RestoreChanges? {
        try await fixture.writer.collect(
            names.map { restoreRow($0) }, into: request, progress, at: now) { $0 ?? $1 }
    }

    @Test("a request is finished by the last of its objects, whatever became of each, and counted for good")
    func finished() async throws {
        let fixture = try Fixture()
        let request = try await fixture.open(scopes: [tree])
        try await fixture.writer.commit(request)
        _ = try await collect(["a/1", "a/2"], fixture, into: request, .reached(tree, ObjectKey("a/2")))
        _ = try await fixture.move("a/1", to: .restored)
        _ = try await fixture.move("a/2", to: .restored)
        // There may be more.
        #expect(try await fixture.reader.request(request)?.request.stage == .collecting)
        _ = try await collect(["a/3"], fixture, into: request, .through([tree]))
        #expect(try await fixture.reader.request(request)?.request.stage == .collected)
        let ended = try await fixture.move("a/3", to: .failed, error: "AccessDenied: no")
        #expect(ended.map(\.request.id) == [request])
        let count = try #require(try await fixture.reader.request(request))
        #expect(count.request.stage == .finished && count.request.finishedAt == now)
        #expect(count.states == [.restored: Tally(objects: 2, bytes: 10), .failed: Tally(objects: 1, bytes: 5)])
        #expect(count.request.error == "AccessDenied: no")
        // What is restored needs no care any more; a failure is kept for people.
        #expect(try await fixture.reader.restore(of: ObjectKey("a/1"), version: nil) == nil)
        #expect(try await fixture.reader.restore(of: ObjectKey("a/3"), version: nil)?.error == "AccessDenied: no")
    }

    @Test("an object that two want is restored once and stays in care until both are finished")
    func shared() async throws {
        let fixture = try Fixture()
        let request = try await fixture.open(scopes: [tree])
        try await fixture.writer.commit(request)
        _ = try await fixture.wish(restoreRow("a/1"))
        _ = try await collect(["a/1", "a/2"], fixture, into: request, .through([tree]))
        let ended = try await fixture.move("a/1", to: .restored)
        #expect(ended.count == 1 && ended.first?.request.id != request)
        #expect(try await fixture.reader.restore(of: ObjectKey("a/1"), version: nil)?.state == .restored)
        // Renewed while the other goes on.
        _ = try await fixture.move("a/1", to: .queued)
        #expect(try await fixture.move("a/2", to: .restored).isEmpty)
        #expect(try await fixture.move("a/1", to: .restored).map(\.request.id) == [request])
        #expect(try await fixture.reader.restore(of: ObjectKey("a/1"), version: nil) == nil)
    }

    @Test("a request that finds nothing, or has nothing to look through, is finished at once")
    func nothing() async throws {
        let fixture = try Fixture()
        let (empty, bare) = (try await fixture.open(scopes: [tree]), try await fixture.open(scopes: []))
        for (request, scopes) in [(empty, [tree]), (bare, [])] {
            try await fixture.writer.commit(request)
            let changes = try #require(try await collect([], fixture, into: request, .through(scopes)))
            #expect(changes.finished.map(\.request.id) == [request])
        }
    }

    @Test("a failed look-through ends with what was found, and is not ended twice")
    func endedEarly() async throws {
        let fixture = try Fixture()
        let request = try await fixture.open(scopes: [tree])
        try await fixture.writer.commit(request)
        _ = try await collect(["a/1"], fixture, into: request, .reached(tree, ObjectKey("a/1")))
        let ended = try await fixture.writer.endCollecting(request, because: "AccessDenied", at: now)
        #expect(ended.finished.isEmpty)
        #expect(try await fixture.move("a/1", to: .restored).count == 1)
        let again = try await fixture.writer.endCollecting(request, because: "AccessDenied", at: now)
        #expect(again.finished.isEmpty)
        let count = try #require(try await fixture.reader.request(request))
        #expect(count.states[.restored]?.objects == 1 && count.request.error == "AccessDenied")
    }

    @Test("a look-through is resumed after the last key that was taken in, objects first, then directories, then trees")
    func resumed() async throws {
        let directory = try TemporaryDirectory()
        let scopes = [
            tree, ScopeRow(kind: .directory, key: ObjectKey("d/"), version: nil),
            ScopeRow(kind: .object, key: ObjectKey("o"), version: "v1"),
            ScopeRow(kind: .object, key: ObjectKey("o"), version: nil),
        ]
        let request: Int64
        do {
            let fixture = try Fixture(in: directory)
            request = try await fixture.open(scopes: scopes + scopes)
            try await fixture.writer.commit(request)
            _ = try await collect(["a/5"], fixture, into: request, .reached(tree, ObjectKey("a/5")))
        }
        let fixture = try Fixture(in: directory)
        let left = try await fixture.writer.scopes(of: request, limit: 9)
        #expect(left.map(\.kind) == [.object, .object, .directory, .tree])
        #expect(left.map(\.version) == [nil, "v1", nil, nil])
        #expect(left.map(\.cursor) == [nil, nil, nil, ObjectKey("a/5")])
    }

    @Test("a cancelled object leaves its requests, which count it and may be finished by that")
    func cancelledObject() async throws {
        let fixture = try Fixture()
        _ = try await fixture.wish(restoreRow("a/1"))
        let request = try await fixture.open(scopes: [tree])
        try await fixture.writer.commit(request)
        _ = try await collect(["a/1", "a/2"], fixture, into: request, .through([tree]))
        let cancelled = try #require(try await fixture.writer.cancel(ObjectKey("a/1"), version: nil, at: now))
        #expect(cancelled.row.key == ObjectKey("a/1"))
        #expect(cancelled.changes.finished.map(\.cancelled) == [Tally(objects: 1, bytes: 5)])
        #expect(try await fixture.reader.restore(of: ObjectKey("a/1"), version: nil) == nil)
        #expect(try await fixture.reader.request(request)?.cancelled == Tally(objects: 1, bytes: 5))
        #expect(try await fixture.move("a/2", to: .restored).map(\.request.id) == [request])
        #expect(try await fixture.writer.cancel(ObjectKey("a/1"), version: nil, at: now) == nil)
    }

    @Test("a cancelled tree drops what is queued or being asked for below it, and nothing else")
    func cancelledTree() async throws {
        let fixture = try Fixture()
        for name in ["a", "a/1", "a/2", "a/b/3", "a/asked", "a0", "b"] { _ = try await fixture.wish(restoreRow(name)) }
        try await fixture.move("a/asked", to: .asking)
        try await fixture.move("a/2", to: .restoring)
        let (tally, changes) = try await fixture.writer.cancelQueued(below: ObjectKey("a/"), at: now)
        #expect(tally == Tally(objects: 3, bytes: 15))
        #expect(changes.finished.count == 3)
        var left: [String] = []
        for name in ["a", "a/1", "a/2", "a/b/3", "a/asked", "a0", "b"] {
            if try await fixture.reader.restore(of: ObjectKey(name), version: nil) != nil { left.append(name) }
        }
        #expect(left == ["a", "a/2", "a0", "b"])
        #expect(try await fixture.writer.cancelQueued(below: .empty, at: now).tally.objects == 3)
    }

    @Test("cancelled while it is collecting, a tree is looked through no further, other scopes are")
    func cancelledCollecting() async throws {
        let fixture = try Fixture()
        let other = ScopeRow(kind: .tree, key: ObjectKey("z/"), version: nil)
        let (one, two) = (try await fixture.open(scopes: [tree]), try await fixture.open(scopes: [tree, other]))
        for request in [one, two] { try await fixture.writer.commit(request) }
        _ = try await collect(["a/1"], fixture, into: one, .reached(tree, ObjectKey("a/1")))
        let changes = try await fixture.writer.cancelQueued(below: ObjectKey("a/"), at: now).changes
        #expect(changes.finished.map(\.request.id) == [one])
        // The pages that were on their way then.
        for request in [one, two] {
            #expect(try await collect(["a/2"], fixture, into: request, .through([tree])) == nil)
        }
        #expect(try await fixture.reader.restore(of: ObjectKey("a/2"), version: nil) == nil)
        #expect(try await collect(["z/1"], fixture, into: two, .through([other])) != nil)
        #expect(try await fixture.reader.request(two)?.states[.queued]?.objects == 1)
    }

    @Test("of a list of objects, those that were cancelled while they were looked at are not taken in")
    func cancelledObjects() async throws {
        let fixture = try Fixture()
        let scopes = ["a/1", "b/1"].map { ScopeRow(kind: .object, key: ObjectKey($0), version: nil) }
        let request = try await fixture.open(scopes: scopes)
        try await fixture.writer.commit(request)
        _ = try await fixture.writer.cancelQueued(below: ObjectKey("a/"), at: now)
        #expect(try await collect(["a/1", "b/1"], fixture, into: request, .through(scopes)) != nil)
        #expect(try await fixture.reader.restore(of: ObjectKey("a/1"), version: nil) == nil)
        #expect(try await fixture.reader.restore(of: ObjectKey("b/1"), version: nil) != nil)
        #expect(try await fixture.reader.request(request)?.request.stage == .collected)
    }

    @Test("unfinished requests are listed with the latest finished ones, the newest first")
    func listed() async throws {
        let fixture = try Fixture()
        for name in ["a", "b", "c", "d"] { _ = try await fixture.wish(restoreRow(name)) }
        for name in ["a", "b", "d"] { try await fixture.move(name, to: .restored) }
        #expect(try await fixture.reader.requests(finishedMax: 2).map(\.request.id) == [4, 3, 2])
        #expect(try await fixture.reader.requests(finishedMax: 0).map(\.request.id) == [3])
    }

    @Test("what a request still waits for is told by class and tier, with the last that was asked for")
    func pending() async throws {
        let fixture = try Fixture()
        let request = try await fixture.open(scopes: [tree])
        try await fixture.writer.commit(request)
        _ = try await collect(["a/1", "a/2"], fixture, into: request, .through([tree]))
        var kinds = try #require(try await fixture.reader.request(request)).pending
        #expect(kinds.map(\.tier) == [.bulk] && kinds[0].lastAskedAt == nil)
        for (name, seconds) in [("a/1", 7), ("a/2", 9)] as [(String, Int64)] {
            let row = try #require(try await fixture.reader.restore(of: ObjectKey(name), version: nil))
            _ = try await fixture.writer.change([(id: row.id, event: seconds)], at: now) { row, seconds in
                var row = row
                (row.state, row.askedAt) = (.restoring, Timestamp(seconds: seconds))
                return row
            }
        }
        kinds = try #require(try await fixture.reader.request(request)).pending
        #expect(kinds.map(\.lastAskedAt) == [Timestamp(seconds: 9)])
    }
}
