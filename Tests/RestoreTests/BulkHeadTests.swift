import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Restore

@Suite("looking at many objects at once")
struct BulkHeadTests {
    private func names(_ keys: [String]) -> [BulkHead.Name] {
        keys.sorted().map { BulkHead.Name(key: ObjectKey($0), version: nil) }
    }

    private func describe(_ sightings: [BulkHead.Sighting]) -> [String] {
        sightings.map {
            switch $0 {
            case .found(let record): record.restore.map { "\($0)" } ?? "frozen"
            case .gone: "gone"
            case .failed(let error): error.code
            }
        }
    }

    private func store(_ dialect: Dialect, _ count: Int, restore: RestoreHeader? = .ongoing) -> (FakeStore, [String]) {
        let store = FakeStore(dialect)
        let keys = (0..<count).map { "dir/" + String(1_000_000 + $0) }
        for key in keys { store.put(key, class: dialect == .oss ? "ColdArchive" : "GLACIER", restore: restore) }
        return (store, keys)
    }

    @Test("a thousand neighbours are one page of a listing", arguments: [Dialect.oss, .s3])
    func neighbours(dialect: Dialect) async {
        let (store, keys) = store(dialect, 1000)
        let sightings = await BulkHead(store).look(at: names(keys))
        #expect(describe(sightings) == Array(repeating: "ongoing", count: 1000))
        #expect(store.lists.count == 1 && store.heads == 0)
        #expect(store.lists.first?.prefix == ObjectKey("dir/1000"))
        #expect(store.lists.first?.delimiter == nil)
    }

    @Test("with pages of any size every object is seen once, also those at the borders", arguments: [1, 2, 3, 7, 1000])
    func borders(keysMax: Int) async {
        let (store, keys) = store(.oss, 40)
        for (index, key) in keys.enumerated() where index % 3 == 0 {
            store.change(ObjectKey(key)) { $0.restore = .restored(until: nil) }
        }
        store.paginate(by: keysMax)
        let sightings = await BulkHead(store).look(at: names(keys))
        let expected = keys.indices.map { $0 % 3 == 0 ? "restored(until: nil)" : "ongoing" }
        #expect(describe(sightings) == expected)
    }

    @Test("one alone, and a version, are asked for by HEAD")
    func single() async {
        let (store, keys) = store(.oss, 2)
        let bulkHead = BulkHead(store)
        #expect(describe(await bulkHead.look(at: names([keys[0]]))) == ["ongoing"])
        #expect(store.heads == 1 && store.lists.isEmpty)
        store.keepVersions()
        store.put(ObjectKey("v"), class: "ColdArchive", restore: .ongoing)
        store.put(ObjectKey("v"), class: "ColdArchive")
        let versions = [nil, "v3"].map { BulkHead.Name(key: ObjectKey("v"), version: $0) }
        #expect(describe(await bulkHead.look(at: versions)) == ["frozen", "ongoing"])
        #expect(await bulkHead.look(at: []).isEmpty)
    }

    @Test("strays among other objects are asked for by HEAD, after a few pages that did not pay")
    func strays() async {
        let store = FakeStore(.oss)
        store.paginate(by: 10)
        var keys: [String] = []
        for stray in 0..<200 {
            let directory = "\(1000 + stray)/"
            keys.append(directory + "a")
            for name in ["a"] + (1..<12).map({ "b\($0)" }) {
                store.put(directory + name, class: "ColdArchive", restore: .ongoing)
            }
        }
        let sightings = await BulkHead(store).look(at: names(keys))
        #expect(describe(sightings).allSatisfy { $0 == "ongoing" })
        #expect(store.lists.count <= 10)
        #expect(store.lists.count + store.heads <= 210)
    }

    @Test("an S3 look-alike that lists no state is found out by the first HEAD, and is listed no more")
    func silentListing() async {
        let (store, keys) = store(.s3, 20)
        let silent = SilentListing(store)
        let bulkHead = BulkHead(silent)
        for round in 1...3 {
            #expect(describe(await bulkHead.look(at: names(keys))).allSatisfy { $0 == "ongoing" })
            #expect(store.lists.count == 1 && store.heads == round * 20)
        }
    }

    @Test("while no S3 object has a state, silence proves nothing; the first that a listing shows ends the doubt")
    func doubt() async {
        let (store, keys) = store(.s3, 20, restore: nil)
        let bulkHead = BulkHead(store)
        #expect(describe(await bulkHead.look(at: names(keys))).allSatisfy { $0 == "frozen" })
        #expect(store.lists.count == 1 && store.heads == 20)
        store.change(ObjectKey(keys[3])) { $0.restore = .ongoing }
        #expect(describe(await bulkHead.look(at: names(keys))).count { $0 == "ongoing" } == 1)
        #expect(store.lists.count == 2 && store.heads == 20)
    }

    @Test("an Intelligent-Tiering object whose listing tells nothing is asked for by HEAD")
    func intelligentTiering() async {
        let (store, keys) = store(.s3, 3)
        store.put(ObjectKey(keys[1]), class: "INTELLIGENT_TIERING", archiveStatus: "ARCHIVE_ACCESS")
        let sightings = await BulkHead(store).look(at: names(keys))
        guard case .found(let record) = sightings[1] else {
            Issue.record("not found")
            return
        }
        #expect(record.archiveStatus == "ARCHIVE_ACCESS")
        #expect(store.lists.count == 1 && store.heads == 1)
    }

    @Test("an object that no listing shows is gone when a HEAD says so, not before")
    func gone() async {
        let (store, keys) = store(.oss, 5)
        store.remove(ObjectKey(keys[0]))
        store.remove(ObjectKey(keys[2]))
        store.remove(ObjectKey(keys[4]))
        #expect(describe(await BulkHead(store).look(at: names(keys))) == ["gone", "ongoing", "gone", "ongoing", "gone"])
        #expect(store.lists.count == 1 && store.heads == 3)
    }

    @Test("a listing that fails fails those it would have shown; what was seen before it stays")
    func failing() async {
        let (store, keys) = store(.oss, 30)
        store.paginate(by: 10)
        store.script { call throws(StoreError) in
            guard case .list(let request) = call, let start = request.startAfter else { return }
            guard start > ObjectKey(keys[5]) else { return }
            throw StoreError(.unavailable, status: 500, code: "InternalError", message: "")
        }
        let seen = describe(await BulkHead(store).look(at: names(keys)))
        #expect(seen == Array(repeating: "ongoing", count: 10) + Array(repeating: "InternalError", count: 20))
        store.script { _ throws(StoreError) in
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        #expect(describe(await BulkHead(store).look(at: names([keys[0]]))) == ["AccessDenied"])
    }

    @Test("pages with nothing in them, and pages that lie, end: what they do not show is asked for by HEAD")
    func emptyPages() async {
        let (store, keys) = store(.oss, 10)
        let sightings = await BulkHead(EmptyPages(store)).look(at: names(keys))
        #expect(describe(sightings) == Array(repeating: "ongoing", count: 10))
        #expect(store.heads == 10)
    }

    @Test("what may come along is seen on the pages of the others, and costs nothing of its own")
    func along() async {
        let (store, keys) = store(.oss, 30)
        store.paginate(by: 10)
        let all = names(keys)
        let along = Set(all.enumerated().filter { $0.offset != 12 }.map(\.element))
        let seen = describe(await BulkHead(store).look(at: all, along: along))
        #expect(seen[12..<22].allSatisfy { $0 == "ongoing" })
        #expect((seen[..<12] + seen[22...]).allSatisfy { $0 == "NotAsked" })
        #expect(store.lists.count == 1 && store.heads == 0)
    }

    @Test("of a vault one is asked for by HEAD, which is never older than the question, before the others are listed")
    func vault() async {
        let (store, keys) = store(.oas, 40)
        let all = names(keys)
        let along = Set(all.dropFirst())
        #expect(describe(await BulkHead(store).look(at: all, along: along)).first == "ongoing")
        #expect(store.heads == 1)
        let before = store.calls.count
        #expect(describe(await BulkHead(store).look(at: all)) == Array(repeating: "ongoing", count: 40))
        #expect(store.heads == 2 && store.calls.count == before + 2)
        #expect(store.calls[before] == .head(all[0].key))
        store.script { call throws(StoreError) in
            guard case .head = call else { return }
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        // What a listing would tell now may be old.
        #expect(describe(await BulkHead(store).look(at: all)) == Array(repeating: "AccessDenied", count: 40))
    }

    @Test("HEADs go some at a time, and each answer is its own object's")
    func heads() async {
        let (store, keys) = store(.oss, 50)
        for key in keys.suffix(25) { store.change(ObjectKey(key)) { $0.restore = nil } }
        let gate = Gate()
        store.script { call throws(StoreError) in if case .head = call { await gate.pass() } }
        async let sightings = BulkHead(store).heads(of: names(keys))
        #expect(await eventually { gate.waiting == 16 })
        #expect(store.heads == 16)
        gate.open()
        let seen = describe(await sightings)
        #expect(seen == Array(repeating: "ongoing", count: 25) + Array(repeating: "frozen", count: 25))
    }
}

/// A store that is another one but for its listings.
private class OtherListing: StoreFront, @unchecked Sendable {
    // SAFETY: immutable, and so are the subclasses.
    let store: FakeStore

    init(_ store: FakeStore) { self.store = store }

    func list(_ request: ListRequest) async throws(StoreError) -> ListPage { try await store.list(request) }
}

private final class SilentListing: OtherListing, @unchecked Sendable {
    override func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        var page = try await store.list(request)
        for index in page.objects.indices { page.objects[index].record.restore = nil }
        return page
    }
}

private final class EmptyPages: OtherListing, @unchecked Sendable {
    override func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        ListPage(objects: [], prefixes: [], continuationToken: "more")
    }
}
