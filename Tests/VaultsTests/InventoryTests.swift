import HTTP
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Vaults

@Suite struct InventoryTests {
    /// Uploads as somebody else would.
    private func upload(_ fixture: VaultFixture, _ description: String) async throws -> String {
        let body = Payload.bytes(Array("theirs".utf8))
        let (vault, sum) = (try await fixture.client.vault(named: "vault").id, try await body.archiveSum())
        return try await fixture.client.upload(body, sum, description: description, to: vault).id
    }

    private func waitForChange(_ fixture: VaultFixture) async throws {
        #expect(await eventually { fixture.changes.withLock { $0 } > 0 })
    }

    @Test("a refresh asks for one inventory, and what others did shows when it is there")
    func refresh() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        try await store.write("ours", "x")
        let theirs = try await upload(fixture, "thawfs1:theirs")
        try await store.refresh(below: .empty)
        try await store.refresh(below: .empty)
        #expect(try await store.names() == ["ours"])
        try await store.write("later", "x")
        try await fixture.advance("4h")
        try await waitForChange(fixture)
        #expect(try await fixture.count("CreateJob") == 1)
        #expect(try await store.names() == ["later", "ours", "theirs"])
        #expect(try await store.head("theirs").versionID == theirs)
        try await fixture.stop()
    }

    @Test("an inventory that was asked for is followed by the next mount")
    func afterRestart() async throws {
        let fixture = try await VaultFixture()
        _ = try await upload(fixture, "thawfs1:theirs")
        do {
            let store = try fixture.store()
            _ = try await store.names()
            try await store.refresh(below: .empty)
        }
        let next = try fixture.store()
        #expect(try await next.names() == [])
        try await fixture.advance("4h")
        try await waitForChange(fixture)
        #expect(try await next.names() == ["theirs"])
        #expect(try await fixture.count("CreateJob") == 1)
        try await fixture.stop()
    }

    @Test("a lost catalogue is taken in anew from an inventory that is there, else from one that is asked for")
    func rebuilding() async throws {
        let fixture = try await VaultFixture()
        let first = try fixture.store()
        try await first.write("kept", "hello")
        try await first.write("dir/\u{e9} x", "hello")
        try await fixture.advance("25h")
        // The vault's description tells that it is not empty, and nothing tells what is in it.
        let second = try fixture.store("second.sqlite")
        #expect(try await second.names() == [])
        #expect(try await fixture.count("CreateJob") == 1)
        try await fixture.advance("4h")
        try await waitForChange(fixture)
        #expect(try await second.names() == ["dir/\u{e9} x", "kept"])
        let third = try fixture.store("third.sqlite")
        #expect(try await third.names() == ["dir/\u{e9} x", "kept"])
        #expect(try await fixture.count("CreateJob") == 1)
        #expect(try await third.head("kept").etag == (try await first.head("kept")).etag)
        try await fixture.stop()
    }

    @Test("a vault that the store last counted when it was empty is not taken for empty for ever")
    func staleCount() async throws {
        let fixture = try await VaultFixture()
        try await fixture.store().write("kept", "hello")
        #expect(try await fixture.store("second.sqlite").names() == [])
        #expect(try await fixture.count("CreateJob") == 0)
        try await fixture.advance("25h")
        let second = try fixture.store("second.sqlite")
        #expect(try await second.names() == [])
        #expect(try await fixture.count("CreateJob") == 1)
        try await fixture.advance("4h")
        try await waitForChange(fixture)
        #expect(try await second.names() == ["kept"])
        try await fixture.stop()
    }

    @Test("a vault that was made here needs no inventory to be known")
    func madeHere() async throws {
        let fixture = try await VaultFixture(vault: nil)
        let account = try fixture.account()
        _ = try await account.put(ObjectKey("vault/"), .bytes([]), ObjectDraft(condition: .isAbsent))
        _ = try await account.put(ObjectKey("vault/file"), .bytes([1]), ObjectDraft())
        try await fixture.advance("25h")
        #expect(try await fixture.store().names() == ["file"])
        #expect(try await fixture.count("CreateJob") == 0)
        try await fixture.stop()
    }

    @Test("an inventory that makes no sense is read three times, and given up then")
    func senseless() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store(sleep: { _ throws(CancellationError) in await Task.yield() })
        let reads = Mutex(0)
        fixture.wire.tap(.get, "/output") { _, sink, _ throws(HTTPError) in
            reads.withLock { $0 += 1 }
            let head = HTTPResponseHead(status: 206, headers: [("content-range", "bytes 0-1/2")])
            guard let sink, sink.accept(head), Array("no".utf8).withUnsafeBytes({ sink.receive($0) }) else {
                throw .rejected
            }
            return HTTPResponse(head: head, body: [])
        }
        try await store.refresh(below: .empty)
        try await fixture.advance("4h")
        let (catalogue, vault) = (try fixture.catalogue(), try await fixture.client.vault(named: "vault").id)
        #expect(try await eventually { try await catalogue.inventory(of: vault) == nil || reads.withLock { $0 } > 3 })
        #expect(reads.withLock { $0 } == 3)
        try await store.refresh(below: .empty)
        #expect(try await fixture.count("CreateJob") == 2)
        try await fixture.stop()
    }

    @Test("a merge keeps what is newer than the inventory and the names that were given since")
    func merging() async throws {
        let fixture = try await VaultFixture(vault: nil)
        let catalogue = try fixture.catalogue()
        let now = Timestamp(seconds: 1_800_000_000)
        func entry(_ path: String, _ archive: String, _ created: Timestamp) async throws {
            let made = CatalogueEntry(
                path: ObjectKey(path), archive: archive, sizeBytes: 1, tree: archive, created: created)
            _ = try await catalogue.store(made, .always, in: "v", isArchiveNew: true)
        }
        func item(_ archive: String, _ path: String) -> InventoryItem {
            InventoryItem(
                archive: archive, description: path, created: now - .seconds(7200), sizeBytes: 1, tree: archive)
        }
        try await entry("gone", "A", now - .seconds(86400))
        try await entry("fresh", "B", now)
        try await entry("renamed", "C", now - .seconds(86400))
        try await entry("deleted", "D", now - .seconds(86400))
        try await catalogue.beginInventory(of: "v")
        try await entry("later", "E", now - .seconds(86400))
        #expect(try await catalogue.beginDeletion(ObjectKey("deleted"), .always, in: "v") == "D")
        try await catalogue.endDeletion("D")
        let listed = [item("C", "original"), item("D", "deleted"), item("F", "theirs")]
        let news = try await catalogue.merge(listed, at: now, of: "v")
        #expect(news == InventoryNews(appeared: 1, vanished: 1))
        let page = try await catalogue.list(.empty, delimiter: nil, after: nil, limit: 10, in: "v")
        #expect(page.objects.map(\.key.description) == ["fresh", "later", "renamed", "theirs"])
        try await fixture.stop()
    }

    @Test("archives without a path of ours show under what their description says, the newest of several as that")
    func foreignDescriptions() async throws {
        let fixture = try await VaultFixture(vault: nil)
        let catalogue = try fixture.catalogue()
        let now = Timestamp(seconds: 1_800_000_000)
        func item(_ archive: String, _ description: String, _ age: Int64) -> InventoryItem {
            InventoryItem(
                archive: archive, description: description, created: now - .seconds(age), sizeBytes: 1, tree: "")
        }
        let listed = [
            item("NEW", "/backup/db.tar", 10), item("OLD", "/backup/db.tar", 20), item("BARE", "", 5),
            item("DIR", "dir/", 5), item("OLDEST", "thawfs1:backup/db.tar", 30),
        ]
        _ = try await catalogue.merge(listed, at: now, of: "v")
        let page = try await catalogue.list(.empty, delimiter: nil, after: nil, limit: 10, in: "v")
        #expect(
            page.objects.map { "\($0.key) \($0.record.versionID ?? "")" } == [
                "BARE BARE", "DIR DIR", "backup/db.tar NEW", "backup/db.tar#archive=OLD OLD",
                "backup/db.tar#archive=OLDEST OLDEST",
            ])
        try await fixture.stop()
    }

    @Test("what was pulled from OSS shows as soon as the jobs are looked at")
    func pulling() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        _ = try await store.names()
        try await fixture.control(.post, "seed", ["bucket": "bkt", "count": 1, "size": 100, "pattern": "object"])
        let vault = try await fixture.client.vault(named: "vault").id
        let place = OSSPlace(host: "oss-cn-hangzhou-internal.aliyuncs.com", bucket: "bkt", key: "object")
        _ = try await fixture.client.startJob(.pull(place, description: "thawfs1:pulled"), in: vault)
        try await fixture.advance("1h")
        try await store.refresh(below: .empty)
        #expect(try await store.names() == ["pulled"])
        #expect(try await store.head("pulled").sizeBytes == 100)
        try await fixture.stop()
    }
}
