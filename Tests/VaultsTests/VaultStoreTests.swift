import HTTP
import Logging
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Vaults

@Suite struct VaultStoreTests {
    @Test("a file is an archive whose description is its path, and its name is known at once")
    func writing() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        let written = try await store.write("a/b c.txt", "hello")
        #expect(written.etag == "\"5D41402ABC4B2A76B9719D911017C592\"")
        #expect(written.storageClass == .oasArchive)
        #expect(try await store.head("a/b c.txt") == written)
        #expect(try await fixture.archives() == ["thawfs1:a/b%20c.txt"])
        try await fixture.stop()
    }

    @Test("what no archive can hold is in the catalogue alone, and can be read at once")
    func catalogueOnly() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        try await store.write("empty", "")
        try await store.write("directory/", "")
        let link = ObjectHeaders(metadata: ["mode": "\(0o120777)"])
        _ = try await store.put(ObjectKey("link"), .bytes(Array("target".utf8)), ObjectDraft(headers: link))
        #expect(try await store.read("link", 0..<6) == Array("target".utf8))
        #expect(try await store.head("link").storageClass.archiveRules(.oas) == nil)
        #expect(try await store.names() == ["directory/", "empty", "link"])
        #expect(try await fixture.archives() == [])
        try await fixture.stop()
    }

    @Test("a path that a description cannot hold is refused before anything is sent")
    func longPaths() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        let path = String(repeating: "p", count: 121)
        #expect(await failure { try await store.write(path, "x") } == .keyTooLong)
        #expect(await failure { try await store.write(String(repeating: "é", count: 21), "x") } == .keyTooLong)
        #expect(await failure { try await store.write(String(path.dropLast()), "x") } == nil)
        #expect(try await fixture.count("UploadArchive") == 1)
        try await fixture.stop()
    }

    @Test("a read of an archive needs a retrieval job, which goes by the name of a restore and is started once")
    func retrieval() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        try await store.write("file", "hello")
        #expect(await failure { _ = try await store.read("file", 0..<5) } == .invalidObjectState)
        #expect(try await store.restore("file") == .started)
        #expect(try await store.head("file").restore == .ongoing)
        #expect(try await store.restore("file") == .alreadyInProgress)
        #expect(await failure { _ = try await store.read("file", 0..<5) } == .invalidObjectState)
        try await fixture.advance("4h")
        guard case .restored(let until?) = try await store.head("file").restore else {
            Issue.record("not restored")
            return
        }
        #expect(until > .now() + .seconds(27 * 3600))
        #expect(try await store.read("file", 1..<4) == Array("ell".utf8))
        #expect(try await store.restore("file") == .alreadyRestored)
        #expect(try await fixture.count("CreateJob") == 1)
        try await fixture.advance("24h")
        #expect(await failure { _ = try await store.read("file", 0..<5) } == .invalidObjectState)
        #expect(try await store.head("file").restore == nil)
        #expect(try await store.restore("file") == .started)
        try await fixture.stop()
    }

    @Test("any range of an output is read, though the store gives whole mebibytes")
    func ranges() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        let content = (0..<(3 << 20) + 7).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 5) }
        _ = try await store.put(ObjectKey("file"), .bytes(content), ObjectDraft())
        _ = try await store.restore("file")
        try await fixture.advance("4h")
        for range in [0..<1, 5..<1_048_576, 1_048_575..<1_048_577, 2_000_000..<3_145_735, 3_145_728..<9_000_000] {
            let wanted = content[range.clamped(to: 0..<content.count)]
            #expect(try await store.read("file", UInt64(range.lowerBound)..<UInt64(range.upperBound)) == Array(wanted))
        }
        #expect(await failure { _ = try await store.read("file", 3_145_735..<3_145_736) } == .invalidRange)
        #expect(await failure { _ = try await store.read("file", 0..<1, ifMatch: "\"other\"") } == .preconditionFailed)
        try await fixture.stop()
    }

    @Test("a retrieval whose reply was lost is looked for among the jobs, and not asked for again")
    func lostReply() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        try await store.write("file", "hello")
        try await fixture.control(.post, "faults", ["op": "CreateJob", "times": 1, "effect": ["lose_reply": true]])
        #expect(try await store.restore("file") == .alreadyInProgress)
        #expect(try await store.restore("file") == .alreadyInProgress)
        #expect(try await fixture.count("CreateJob") == 1)
        try await fixture.stop()
    }

    @Test("a job that reaches the store after its sender gave up on it is waited for, and not asked for again",
        arguments: [true, false])
    func lateJob(isInventory: Bool) async throws {
        let fixture = try await VaultFixture()
        let onItsWay = Gate()
        let pauses = Mutex(0)
        let store = try fixture.store(sleep: { delay throws(CancellationError) in
            let number = pauses.withLock { pauses in
                pauses += 1
                return pauses
            }
            // The first look comes too early.
            if number == 1 { return }
            guard number == 2 else { return try await RetryingStore.taskSleep(delay) }
            onItsWay.open()
            _ = try? await eventually { try await fixture.count("CreateJob") == 1 }
        })
        try await store.write("file", "hello")
        let isFirst = Atomic(true)
        fixture.wire.tap(.post, "/jobs") { request, sink, http throws(HTTPError) in
            let isHeld = isFirst.exchange(false, ordering: .relaxed)
            guard isHeld else { return try await http.perform(request, into: sink) }
            Task {
                await onItsWay.pass()
                _ = try? await http.perform(request)
            }
            throw .timeout("slow")
        }
        func ask() async throws {
            if isInventory { return try await store.refresh(below: .empty) }
            #expect(try await store.restore("file") == .alreadyInProgress)
        }
        let first = await failure { try await ask() }
        onItsWay.open()
        #expect(first == nil)
        try await ask()
        #expect(try await fixture.count("CreateJob") == 1)
        try await fixture.stop()
    }

    @Test("a retrieval that was asked for just before a crash is known to the next mount")
    func retrievalAfterCrash() async throws {
        let fixture = try await VaultFixture()
        // It ends before it has looked for the job.
        let store = try fixture.store(sleep: { _ throws(CancellationError) in throw CancellationError() })
        try await store.write("file", "hello")
        try await fixture.control(.post, "faults", ["op": "CreateJob", "times": 1, "effect": ["lose_reply": true]])
        #expect(await failure { _ = try await store.restore("file") } == .unavailable)
        let next = try fixture.store()
        #expect(try await next.head("file").restore == .ongoing)
        #expect(try await next.restore("file") == .alreadyInProgress)
        try await fixture.stop()
    }

    @Test("a job that fails leaves its archive frozen")
    func failedJob() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        try await store.write("file", "hello")
        try await fixture.control(.post, "faults", ["op": "CreateJob", "times": 1, "effect": ["restore_fails": true]])
        #expect(try await store.restore("file") == .started)
        try await fixture.advance("4h")
        #expect(try await store.head("file").restore == nil)
        try await fixture.stop()
    }

    @Test("what is overwritten is deleted once the new archive is there, and conditions hold")
    func overwriting() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        let first = try await store.write("file", "one", .isAbsent)
        #expect(await failure { try await store.write("file", "two", .isAbsent) } == .preconditionFailed)
        let second = try await store.write("file", "two", .matches(etag: first.etag))
        let stale = WriteCondition.matches(etag: first.etag)
        #expect(await failure { try await store.write("file", "three", stale) } == .preconditionFailed)
        #expect(try await store.head("file") == second)
        #expect(try await fixture.archives().count == 1)
        try await fixture.stop()
    }

    @Test("a copy is another name of the same archive, frozen or not, which goes with its last name")
    func copying() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        let written = try await store.write("old", "content")
        _ = try await store.restore("old")
        let copy = try await store.copy(CopySource(key: ObjectKey("old"), etag: written.etag), to: ObjectKey("new"), nil)
        #expect(copy.versionID == written.versionID)
        #expect(try await store.head("new").restore == .ongoing)
        try await store.delete(ObjectKey("old"), version: nil, condition: .always)
        #expect(try await store.names() == ["new"])
        #expect(try await fixture.archives() == ["thawfs1:old"])
        let headers = ObjectHeaders(metadata: ["mode": "33152"])
        _ = try await store.copy(
            CopySource(key: ObjectKey("new")), to: ObjectKey("new"), ObjectDraft(headers: headers))
        #expect(try await store.describe(ObjectKey("new"), version: nil).headers == headers)
        try await store.delete(ObjectKey("new"), version: nil, condition: .always)
        try await store.delete(ObjectKey("new"), version: nil, condition: .always)
        #expect(try await store.names() == [])
        #expect(try await fixture.archives() == [])
        try await fixture.stop()
    }

    @Test("a deletion that failed leaves the file, and one that a crash cut short is gone on with by the next mount")
    func failedDeletion() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        let file = ObjectKey("file")
        try await store.write("file", "hello")
        try await fixture.control(.post, "faults", ["op": "DeleteArchive", "times": 1, "effect": ["status": 503]])
        #expect(await failure { try await store.delete(file, version: nil, condition: .always) } == .throttled)
        #expect(try await fixture.store().names() == ["file"])
        let vault = try await fixture.client.vault(named: "vault").id
        #expect(try await fixture.catalogue().beginDeletion(file, .always, in: vault) != nil)
        #expect(try await fixture.store().names() == [])
        #expect(try await fixture.archives() == [])
        try await fixture.stop()
    }

    @Test("a deletion whose caller is interrupted is brought to its end, and none is begun after it")
    func interruptedDeletion() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        try await store.write("first", "hello")
        try await store.write("second", "hello")
        let gate = fixture.wire.hold(.delete)
        let deletion = Task { try await store.delete([ObjectKey("first"), ObjectKey("second")]) }
        #expect(await eventually { gate.waiting == 1 })
        deletion.cancel()
        gate.open()
        #expect(await failure { _ = try await deletion.value } == .cancelled)
        #expect(try await store.names() == ["second"])
        #expect(try await fixture.archives() == ["thawfs1:second"])
        try await fixture.stop()
    }

    @Test("an archive that is being deleted gets no other name")
    func renamedWhileDeleted() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        try await store.write("file", "hello")
        let gate = fixture.wire.hold(.delete)
        async let deletion: Void = store.delete(ObjectKey("file"), version: nil, condition: .always)
        #expect(await eventually { gate.waiting == 1 })
        let source = CopySource(key: ObjectKey("file"))
        #expect(await failure { _ = try await store.copy(source, to: ObjectKey("new"), nil) } == .noSuchKey)
        gate.open()
        try await deletion
        #expect(try await store.names() == [])
        try await fixture.stop()
    }

    @Test("an archive whose entry was read before its deletion gets no other name after it")
    func renamedAfterDeletion() async throws {
        let fixture = try await VaultFixture(vault: nil)
        let catalogue = try fixture.catalogue()
        var entry = CatalogueEntry(path: ObjectKey("file"), archive: "A", sizeBytes: 1, tree: "A", created: .now())
        _ = try await catalogue.store(entry, .always, in: "v", isArchiveNew: true)
        #expect(try await catalogue.beginDeletion(entry.path, .always, in: "v") == "A")
        try await catalogue.endDeletion("A")
        entry.path = ObjectKey("new")
        let copy = entry
        let error = await failure { _ = try await catalogue.store(copy, .always, in: "v", isArchiveNew: false) }
        #expect(error == .noSuchKey)
        #expect(try await catalogue.entry(copy.path, in: "v") == nil)
        try await fixture.stop()
    }

    @Test("parts make an archive whose tree-etag is that of the whole")
    func parts() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        let first = [UInt8](repeating: 7, count: 64 << 20)
        let upload = try await store.beginUpload(ObjectKey("large"), ObjectDraft())
        let parts = [
            try await store.uploadPart(upload, number: 1, .bytes(first)),
            try await store.uploadPart(upload, number: 2, .bytes(Array("tail".utf8))),
        ]
        let record = try await store.completeUpload(upload, parts, ObjectDraft())
        #expect(record.sizeBytes == (64 << 20) + 4)
        #expect(record.etag == "\"\(TreeETag.of(first + Array("tail".utf8)))\"")
        let aborted = try await store.beginUpload(ObjectKey("other"), ObjectDraft())
        try await store.abortUpload(aborted)
        try await store.abortUpload(aborted)
        #expect(try await store.names() == ["large"])
        try await fixture.stop()
    }

    @Test("an archive that is not what was sent is not left in the vault", arguments: [true, false])
    func corrupted(isInParts: Bool) async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        fixture.wire.tap(.post) { request, sink, http throws(HTTPError) in
            var response = try await http.perform(request, into: sink)
            guard response.head["x-oas-archive-id"] != nil else { return response }
            response.head.headers.removeAll { $0.name == "x-oas-tree-etag" }
            response.head.headers.append(("x-oas-tree-etag", "0123"))
            return response
        }
        let error = await failure {
            guard isInParts else {
                try await store.write("file", "content")
                return
            }
            let upload = try await store.beginUpload(ObjectKey("file"), ObjectDraft())
            let part = try await store.uploadPart(upload, number: 1, .bytes(Array("content".utf8)))
            _ = try await store.completeUpload(upload, [part], ObjectDraft())
        }
        #expect(error == .corrupted)
        #expect(try await fixture.archives() == [])
        try await fixture.stop()
    }

    @Test("names are listed page by page, directories as one")
    func listing() async throws {
        let fixture = try await VaultFixture()
        let store = try fixture.store()
        for name in ["a", "b/1", "b/2", "b/c/3", "bb", "c/", "c/1", "d", "\u{e9}"] {
            try await store.write(name, "")
        }
        let slash = UInt8(ascii: "/")
        for keysMax in [1, 2, 3, 1000] {
            let root = try await store.names(delimiter: slash, keysMax: keysMax)
            #expect(root == ["a", "b/", "bb", "c/", "d", "\u{e9}"])
            #expect(try await store.names("b/", delimiter: slash, keysMax: keysMax) == ["b/1", "b/2", "b/c/"])
            #expect(try await store.names("b", keysMax: keysMax) == ["b/1", "b/2", "b/c/3", "bb"])
        }
        try await fixture.stop()
    }

    @Test("a vault that is not there is no such bucket, and one that comes later is found")
    func missingVault() async throws {
        let fixture = try await VaultFixture(vault: nil)
        let store = try fixture.store()
        #expect(await failure { _ = try await store.names() } == .noSuchBucket)
        _ = try await fixture.client.createVault("vault")
        #expect(try await store.names() == [])
        try await fixture.stop()
    }

    @Test("a vault whose creation was answered by nobody is made when it is found, and no other")
    func createAgain() async throws {
        let fixture = try await VaultFixture()
        let account = RetryingStore(try fixture.account(), logger: Logger(label: "quiet") { _ in
            SwiftLogNoOpLogHandler()
        }) { _ in }
        let draft = ObjectDraft(condition: .isAbsent)
        fixture.wire.tap(.put, "/new") { request, sink, http throws(HTTPError) in
            _ = try await http.perform(request, into: sink)
            throw .broken("cut")
        }
        _ = try await account.put(ObjectKey("new/"), .bytes([]), draft)
        for name in ["new/", "vault/"] {
            #expect(
                await failure { _ = try await account.put(ObjectKey(name), .bytes([]), draft) } == .preconditionFailed)
        }
        try await fixture.stop()
    }

    @Test("an account has vaults as directories, which are created and deleted like them")
    func account() async throws {
        let fixture = try await VaultFixture()
        let account = try fixture.account()
        _ = try await account.put(ObjectKey("another/"), .bytes([]), ObjectDraft(condition: .isAbsent))
        let root = try await account.list(ListRequest(prefix: .empty))
        #expect(root.prefixes.map(\.description) == ["another/", "vault/"])
        _ = try await account.put(ObjectKey("vault/dir/file"), .bytes([1]), ObjectDraft())
        let everything = try await account.list(ListRequest(prefix: .empty, delimiter: nil))
        #expect(everything.objects.isEmpty && everything.continuationToken == "vault/")
        var rest = ListRequest(prefix: .empty, delimiter: nil)
        rest.continuationToken = everything.continuationToken
        #expect(try await account.list(rest).objects.map(\.key.description) == ["vault/dir/file"])
        // What was listed of a vault that has gone since hides nothing of the next one.
        rest.continuationToken = "between/zzz"
        #expect(try await account.list(rest).objects.map(\.key.description) == ["vault/dir/file"])
        let vault = ObjectKey("vault/")
        #expect(await failure { try await account.delete(vault, version: nil, condition: .always) } == .notEmpty)
        try await account.delete(ObjectKey("vault/dir/file"), version: nil, condition: .always)
        try await account.delete(vault, version: nil, condition: .always)
        #expect(try await account.list(ListRequest(prefix: .empty)).prefixes.map(\.description) == ["another/"])
        try await fixture.stop()
    }
}
