import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

@Suite("what reads may restore")
struct ReadGuardTests {
    private func fixture(_ bytes: UInt64?, _ ahead: RestoreAhead = .off) throws -> EngineFixture {
        try EngineFixture { settings in
            settings.budget = bytes.map { RestoreBudget(bytes: $0, window: .seconds(3600)) }
            settings.ahead = ahead
        }
    }

    private func submitted(_ fixture: EngineFixture) -> [String] {
        fixture.archive.submissions.map { "\($0.key)" }.sorted()
    }

    @Test("reads restore up to the budget to the byte, then none, and again when the window has moved on")
    func budget() async throws {
        let fixture = try fixture(100)
        let keys = fixture.put(4, bytes: 50)
        for key in keys[..<2] { #expect(try await fixture.ask(key, by: .reader) == .underWay) }
        // What is under way costs nothing more.
        #expect(try await fixture.ask(keys[0], by: .reader) == .underWay)
        let error = await #expect(throws: RestoreError.self) { try await fixture.ask(keys[2], by: .reader) }
        #expect(isCase(error, "overBudget") && fixture.store.orders.count == 2)
        #expect(try await fixture.row(keys[2]) == nil)
        #expect(try await fixture.ask(keys[2]) == .underWay)
        await fixture.pass(.seconds(3600))
        #expect(try await fixture.ask(keys[3], by: .reader) == .underWay)
        #expect(try await fixture.writer.spending(of: "reads", since: 0).map(\.bytes).reduce(0, +) == 150)
    }

    @Test("what does not fit leaves room for what does, and readers at the same time cannot overdraw")
    func atOnce() async throws {
        let fixture = try fixture(100)
        let large = fixture.put(1, below: "large/", bytes: 101)
        let keys = fixture.put(20, bytes: 10)
        _ = await #expect(throws: RestoreError.self) { try await fixture.ask(large[0], by: .reader) }
        let readers = keys.map { key in Task { try await fixture.ask(key, by: .reader) } }
        var refused = 0
        for reader in readers { if case .failure = await reader.result { refused += 1 } }
        #expect(refused == 10 && fixture.store.orders.count == 10)
    }

    @Test("readers of one object are charged once")
    func once() async throws {
        let fixture = try fixture(10)
        let key = fixture.put(1, bytes: 10)[0]
        let readers = (0..<10).map { _ in Task { try await fixture.ask(key, by: .reader) } }
        for reader in readers { #expect(try await reader.value == .underWay) }
        #expect(try await fixture.writer.spending(of: "reads", since: 0).map(\.bytes) == [10])
    }

    @Test("a read restores what stands beside the file, or below it too, and only once",
        arguments: RestoreAhead.allCases)
    func ahead(_ ahead: RestoreAhead) async throws {
        let fixture = try fixture(nil, ahead)
        for key in ["dir/a", "dir/b", "dir/sub/c", "other"] { fixture.store.put(key, [1], class: "ColdArchive") }
        fixture.store.put("dir/hot", [1])
        #expect(try await fixture.ask(ObjectKey("dir/a"), by: .reader) == .underWay)
        let expected =
            switch ahead {
            case .off: ["dir/a"]
            case .dir: ["dir/a", "dir/b"]
            case .tree: ["dir/a", "dir/b", "dir/sub/c"]
            }
        #expect(await fixture.passTime(atMost: .seconds(60)) { fixture.archive.submissions.count == expected.count })
        await fixture.settle()
        #expect(submitted(fixture) == expected)
        #expect(fixture.store.lists.count { $0.startAfter == nil } == (ahead == .off ? 0 : 1))
        #expect(try await fixture.ask(ObjectKey("dir/b"), by: .reader) == .underWay)
        await fixture.settle()
        #expect(fixture.store.lists.count { $0.startAfter == nil } == (ahead == .off ? 0 : 1))
        let requests = try await fixture.engine.requests()
        #expect(requests.count { $0.origin == .ahead } == (ahead == .off ? 0 : 1))
    }

    @Test("a command, and a read of a version, restore nothing along with them")
    func notAhead() async throws {
        let fixture = try fixture(nil, .tree)
        let keys = fixture.put(3)
        #expect(try await fixture.ask(keys[0]) == .underWay)
        await fixture.settle()
        #expect(fixture.store.lists.isEmpty && fixture.archive.submissions.count == 1)
    }

    @Test("what is restored ahead keeps within the budget, in key order, and charges nothing twice")
    func aheadWithinBudget() async throws {
        let fixture = try fixture(100, .dir)
        let keys = fixture.put(10, bytes: 25)
        #expect(try await fixture.ask(keys[9], by: .reader) == .underWay)
        #expect(await fixture.passTime(atMost: .seconds(60)) { fixture.archive.submissions.count == 4 })
        #expect(try await fixture.passTime(atMost: .seconds(60)) {
            try await fixture.engine.requests().first { $0.origin == .ahead }?.isCollecting == false
        })
        #expect(submitted(fixture) == ["dir/0000000", "dir/0000001", "dir/0000002", "dir/0000009"])
        #expect(try await fixture.writer.spending(of: "reads", since: 0).map(\.bytes).reduce(0, +) == 100)
        let ahead = try #require(try await fixture.engine.requests().first { $0.origin == .ahead })
        #expect(ahead.error?.contains("restore_budget") == true)
        let error = await #expect(throws: RestoreError.self) { try await fixture.ask(keys[5], by: .reader) }
        #expect(isCase(error, "overBudget"))
        #expect(try await fixture.ask(keys[1], by: .reader) == .underWay)
    }
}
