import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Upload
import Wire

@Suite("renames of directories")
struct TreeRenameTests {
    @Test("every object is moved with its headers and class, and nothing is left in the journal")
    func moved() async throws {
        let fixture = try TreeFixture()
        fixture.put(7)
        fixture.store.put(source + Array("meta".utf8), [1], metadata: ["mode": "33188"])
        fixture.store.put(source + Array("ia".utf8), [2], class: "IA")
        fixture.store.put("src-beside", [3])
        fixture.store.paginate(by: 3)
        try await fixture.rename()
        #expect(fixture.isWhole(7, below: target) && fixture.isEmpty(source))
        #expect(fixture.store.headers(ObjectKey("dst/meta"))?.metadata == ["mode": "33188"])
        #expect(fixture.store.record(ObjectKey("dst/ia"))?.storageClass == StorageClass("IA"))
        #expect(fixture.store.content(ObjectKey("src-beside")) == [3])
        #expect(fixture.copies.count == 9 && fixture.deletes.map(\.count) == [9])
        #expect(fixture.store.heads == 0)
        #expect(try await fixture.reader.renames().isEmpty)
    }

    @Test("of thousands, no more than 64 are copied at once, and 1,000 are deleted by each request")
    func many() async throws {
        let fixture = try TreeFixture()
        fixture.put(5200)
        let (now, tooMany) = (Counter(), Counter())
        fixture.store.script { call in
            guard case .copy = call else { return }
            if now.add() > 64 { tooMany.add() }
            await Task.yield()
        }
        fixture.store.scriptReplies { call in
            if case .copy = call { now.add(-1) }
        }
        try await fixture.rename()
        #expect(fixture.isWhole(5200, below: target) && fixture.isEmpty(source))
        #expect(tooMany.value == 0)
        #expect(fixture.deletes.map(\.count).sorted() == [200, 1000, 1000, 1000, 1000, 1000])
    }

    @Test("a frozen object anywhere below refuses the whole before anything is changed")
    func frozen() async throws {
        let fixture = try TreeFixture()
        fixture.put(9)
        fixture.store.put("src/zzz", [1], class: "ColdArchive")
        fixture.store.paginate(by: 4)
        guard case .frozen(ObjectKey("src/zzz")) = await fixture.renameError() else {
            Issue.record("not refused")
            return
        }
        #expect(fixture.copies.isEmpty && fixture.isEmpty(target) && fixture.isWhole(9, below: source))
        #expect(try await fixture.reader.renames().isEmpty)
        fixture.store.change(ObjectKey("src/zzz")) { $0.restore = .restored(until: nil) }
        try await fixture.rename()
        #expect(fixture.store.record(ObjectKey("dst/zzz"))?.storageClass == StorageClass("ColdArchive"))
    }

    @Test("the target may have a marker and nothing else")
    func occupied() async throws {
        let fixture = try TreeFixture()
        fixture.put(3)
        fixture.store.put(target)
        fixture.store.put("dst/there", [1])
        guard case .notEmpty(ObjectKey("dst/there")) = await fixture.renameError() else {
            Issue.record("not refused")
            return
        }
        #expect(fixture.copies.isEmpty)
        fixture.store.remove(ObjectKey("dst/there"))
        try await fixture.rename()
        #expect(fixture.isWhole(3, below: target) && fixture.isEmpty(source))
    }

    @Test("what is too large for one request is copied in parts")
    func large() async throws {
        let fixture = try TreeFixture(wholeBytesMax: 16)
        fixture.put(3)
        fixture.store.put("src/large", Array(repeating: 7, count: 17))
        try await fixture.rename()
        #expect(fixture.isWhole(3, below: target) && fixture.isEmpty(source))
        #expect(fixture.store.content(ObjectKey("dst/large")) == Array(repeating: 7, count: 17))
        #expect(!fixture.copies.contains(ObjectKey("src/large")) && fixture.store.openUploads.isEmpty)
    }

    @Test("a prefix with nothing below it is not there")
    func missing() async throws {
        guard case .store(source, let error) = try await TreeFixture().renameError() else {
            Issue.record("not refused")
            return
        }
        #expect(error.kind == .noSuchKey)
    }

    @Test("a copy that fails takes all of it back, but for the marker that was there", arguments: [false, true])
    func failedCopy(hasMarker: Bool) async throws {
        let fixture = try TreeFixture()
        fixture.put(200)
        if hasMarker { fixture.store.put(target) }
        fixture.store.script { call throws(StoreError) in
            if case .copy(let from, _) = call, from.key == ObjectKey("src/sub/10198") { throw .refused }
        }
        guard case .store(ObjectKey("src/sub/10198"), .refused) = await fixture.renameError() else {
            Issue.record("it did not fail as it should")
            return
        }
        #expect(fixture.copies.count > 1)
        #expect(fixture.isWhole(200, below: source))
        #expect(fixture.names(below: target) == (hasMarker ? [""] : []))
        #expect(try await fixture.reader.renames().isEmpty)
    }

    @Test("an object that freezes while it is copied is told as frozen, and all is taken back")
    func freezing() async throws {
        let fixture = try TreeFixture()
        fixture.put(5)
        fixture.store.script { [store = fixture.store] call in
            guard case .copy(let from, _) = call, from.key == ObjectKey("src/10003") else { return }
            store.change(from.key) { $0.storageClass = StorageClass("Archive") }
        }
        guard case .frozen(ObjectKey("src/10003")) = await fixture.renameError() else {
            Issue.record("not told as frozen")
            return
        }
        #expect(fixture.isEmpty(target) && fixture.isWhole(5, below: source))
    }

    @Test("what cannot be taken back is taken back by the next mount, which then does not go on with the rename")
    func failedUndo() async throws {
        let fixture = try TreeFixture()
        fixture.put(6)
        fixture.store.script { call throws(StoreError) in
            switch call {
            case .copy(let from, _) where from.key == ObjectKey("src/sub/10004"): throw .refused
            case .deleteMany: throw .refused
            default: break
            }
        }
        guard case .store(ObjectKey("src/sub/10004"), .refused) = await fixture.renameError() else {
            Issue.record("it did not fail as it should")
            return
        }
        #expect(try await fixture.reader.renames().map(\.stage) == [.undoing])
        #expect(!fixture.isEmpty(target) && fixture.isWhole(6, below: source))
        fixture.store.put("dst/of somebody else", [1])
        fixture.store.script { _ in }
        let next = try fixture.afterCrash()
        await next.trees.resume()
        #expect(next.isWhole(6, below: source) && next.names(below: target) == ["of somebody else"])
        #expect(try await next.reader.renames().isEmpty)
    }

    @Test("cancelled while it copies, it waits for the copies under way and takes all back")
    func cancelled() async throws {
        let fixture = try TreeFixture()
        fixture.put(100)
        let gate = Gate()
        // The reply is held back: the copy is there, and whoever gives up the request does not know it.
        fixture.store.scriptReplies { [fixture] call in
            if case .copy = call, fixture.names(below: target).count > 40 { await gate.pass() }
        }
        let rename = Task { await fixture.renameError() }
        #expect(await eventually { gate.waiting > 0 })
        rename.cancel()
        gate.open()
        guard case .cancelled = await rename.value else {
            Issue.record("not cancelled")
            return
        }
        #expect(fixture.isEmpty(target) && fixture.isWhole(100, below: source))
        #expect(try await fixture.reader.renames().isEmpty)
    }

    @Test("a mount that ends while it goes on with one leaves it to the next")
    func cancelledResume() async throws {
        let fixture = try TreeFixture()
        fixture.put(100)
        _ = try await fixture.writer.beginRename(source, to: target, replacesMarker: false)
        let gate = Gate()
        fixture.store.script { [fixture] call in
            if case .copy = call, fixture.names(below: target).count > 40 { await gate.pass() }
        }
        let second = try fixture.afterCrash()
        let resume = Task { await second.trees.resume() }
        #expect(await eventually { gate.waiting > 0 })
        resume.cancel()
        gate.open()
        await resume.value
        #expect(try await second.reader.renames().map(\.stage) == [.copying])
        #expect(!second.isEmpty(target) && second.isWhole(100, below: source))
        let third = try second.afterCrash()
        await third.trees.resume()
        #expect(third.isWhole(100, below: target) && third.isEmpty(source))
    }

    @Test("what this mount began is not taken for what an earlier one left")
    func own() async throws {
        let fixture = try TreeFixture()
        fixture.put(3)
        _ = try await fixture.writer.beginRename(source, to: target, replacesMarker: false)
        await fixture.trees.resume()
        #expect(fixture.store.calls.isEmpty)
    }

    @Test("what was known of both trees is forgotten when a rename is finished by the next mount")
    func forgotten() async throws {
        let fixture = try TreeFixture()
        fixture.put(3)
        let now = Timestamp.now()
        for prefix in [source, target] { try await fixture.writer.beginEmpty(directory: prefix, at: now) }
        let row = MetadataRow(segment: Array("dst/".utf8), kind: .absent, checkedAt: now)
        try await fixture.writer.record([row], below: .empty, listing: 0)
        _ = try await fixture.writer.beginRename(source, to: target, replacesMarker: false)
        let next = try fixture.afterCrash()
        await next.trees.resume()
        for prefix in [source, target] {
            #expect(try await next.reader.state(of: prefix).listedAt == .epoch)
            #expect(try await next.reader.rows([prefix.bytes], below: .empty).first?.checkedAt == .epoch)
        }
    }

    @Test("cancelled when all is copied, it comes to its end")
    func cancelledLate() async throws {
        let fixture = try TreeFixture()
        fixture.put(5)
        let gate = Gate()
        fixture.store.script { call in if case .deleteMany = call { await gate.pass() } }
        let rename = Task { await fixture.renameError() }
        #expect(await eventually { gate.waiting > 0 })
        rename.cancel()
        gate.open()
        #expect(await rename.value == nil)
        #expect(fixture.isWhole(5, below: target) && fixture.isEmpty(source))
    }
}

@Suite("renames of directories that others write to")
struct ConcurrentRenameTests {
    /// What others do when the first object is copied.
    private func renamed(
        _ count: Int, while others: @escaping @Sendable (FakeStore) -> Void
    ) async throws -> TreeFixture {
        let fixture = try TreeFixture()
        fixture.put(count)
        let copies = Counter()
        fixture.store.scriptReplies { [store = fixture.store] call in
            guard case .copy = call, copies.add() == 1 else { return }
            others(store)
        }
        try await fixture.rename()
        #expect(try await fixture.reader.renames().isEmpty)
        return fixture
    }

    @Test("what comes below the source meanwhile stays there")
    func appeared() async throws {
        let fixture = try await renamed(5) { $0.put("src/new", [9]) }
        #expect(fixture.names(below: source) == ["new"])
        #expect(fixture.names(below: target).count == 5)
    }

    @Test("what is replaced meanwhile is moved as it is then")
    func replaced() async throws {
        let fixture = try await renamed(200) { store in
            for name in TreeFixture.names(200) where !name.isEmpty { store.put(source + Array(name.utf8), [7]) }
        }
        #expect(fixture.isEmpty(source))
        for name in TreeFixture.names(200) where !name.isEmpty {
            #expect(fixture.store.content(target + Array(name.utf8)) == [7])
        }
    }

    @Test("what is deleted meanwhile is no failure")
    func deleted() async throws {
        let fixture = try await renamed(200) { store in
            for name in TreeFixture.names(200).suffix(60) { store.remove(source + Array(name.utf8)) }
        }
        #expect(fixture.isEmpty(source))
        #expect(fixture.names(below: target).count >= 140)
    }

    @Test("what is replaced after it was copied and cannot be copied again stays where it is")
    func stuck() async throws {
        let fixture = try TreeFixture()
        fixture.put(4)
        let copies = Counter()
        fixture.store.script { [store = fixture.store] call throws(StoreError) in
            guard case .copy(let from, _) = call, copies.value >= 4 else { return }
            #expect(from.key == ObjectKey("src/10001") && store.content(from.key) == [7])
            throw .refused
        }
        fixture.store.scriptReplies { [store = fixture.store] call in
            guard case .copy = call, copies.add() == 4 else { return }
            store.put("src/10001", [7])
        }
        try await fixture.rename()
        #expect(fixture.names(below: source) == ["10001"])
        #expect(fixture.isWhole(4, below: target))
    }

    @Test("when sources cannot be deleted, that is told, and the next mount goes on")
    func undeletable() async throws {
        let fixture = try TreeFixture()
        fixture.put(5)
        fixture.store.script { call throws(StoreError) in if case .deleteMany = call { throw .refused } }
        guard case .store(_, .refused) = await fixture.renameError() else {
            Issue.record("not told")
            return
        }
        #expect(fixture.isWhole(5, below: target) && fixture.isWhole(5, below: source))
        #expect(try await fixture.reader.renames().map(\.stage) == [.deleting])
        // Written after that was told, one newer than its copy and one that was not there.
        let later = Timestamp(seconds: 1_700_000_100)
        fixture.store.put("src/10001", [7])
        fixture.store.change(ObjectKey("src/10001")) { $0.modified = later }
        fixture.store.put("src/new", [8])
        fixture.store.script { _ in }
        let next = try fixture.afterCrash()
        await next.trees.resume()
        #expect(next.names(below: source) == ["10001", "new"])
        #expect(next.isWhole(5, below: target))
        #expect(try await next.reader.renames().isEmpty)
    }
}
