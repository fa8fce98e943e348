import Metadata
import ObjectStore
import Synchronization
import Testing
import ThawCore
import ThawTesting
import Upload
import Wire

@Suite("changes of storage class")
struct TransitionTests {
    private let cold = StorageClass("ColdArchive")

    private func transition(
        _ fixture: TreeFixture, to name: String, changed: @escaping TreeCopy.Changed = { _, _ in }
    ) async -> TreeCopyError? {
        do throws(TreeCopyError) {
            try await fixture.trees.transition(
                below: source, to: StorageClass(name),
                isFrozen: { [store = fixture.store] _, record in
                    record.storageClass.archiveRules(store.dialect) != nil && record.restore == nil
                }, changed: changed)
        } catch {
            return error
        }
        return nil
    }

    private func classes(_ fixture: TreeFixture) -> Set<String> {
        Set(fixture.store.keys.compactMap { fixture.store.record($0)?.storageClass.name })
    }

    @Test("all below get the class and keep their headers and content; those that have it are passed over")
    func tree() async throws {
        let fixture = try TreeFixture()
        fixture.store.put(source + Array("meta".utf8), [1], metadata: ["mode": "33188", "own": "x"])
        fixture.store.put("src/sub/cold", [2], class: "ColdArchive")
        fixture.store.put("src/warm", [3], class: "IA")
        fixture.store.put("src-beside", [4])
        let told = Mutex<[ObjectKey: ObjectRecord]>([:])
        let error = await transition(fixture, to: "ColdArchive") { key, record in told.withLock { $0[key] = record } }
        #expect(error == nil)
        for name in ["src/meta", "src/sub/cold", "src/warm"] {
            #expect(fixture.store.record(ObjectKey(name))?.storageClass == cold)
        }
        #expect(fixture.store.headers(ObjectKey("src/meta"))?.metadata == ["mode": "33188", "own": "x"])
        #expect(fixture.store.content(ObjectKey("src/warm")) == [3])
        #expect(fixture.store.record(ObjectKey("src-beside"))?.storageClass == StorageClass("Standard"))
        let changed = told.withLock { $0 }
        #expect(Set(changed.keys) == [ObjectKey("src/meta"), ObjectKey("src/warm")])
        #expect(changed[ObjectKey("src/meta")]?.attributes?.mode == 33188)
        #expect(changed.allSatisfy { $1.storageClass == cold && fixture.store.record($0)?.etag == $1.etag })
    }

    @Test("markers of directories and symbolic links stay readable")
    func markers() async throws {
        let fixture = try TreeFixture()
        fixture.store.put(source)
        fixture.store.put("src/sub/")
        fixture.store.put(ObjectKey("src/link"), Array("there".utf8), metadata: ["mode": "41471"])
        #expect(await transition(fixture, to: "ColdArchive") == nil)
        #expect(classes(fixture) == ["Standard"])
    }

    @Test("a frozen object refuses the whole before anything is changed; a restored one is thawed for good")
    func frozen() async throws {
        let fixture = try TreeFixture()
        fixture.put(4)
        fixture.store.put("src/zzz", [1], class: "ColdArchive")
        guard case .frozen(ObjectKey("src/zzz")) = await transition(fixture, to: "IA") else {
            Issue.record("not refused")
            return
        }
        #expect(fixture.copies.isEmpty && classes(fixture) == ["Standard", "ColdArchive"])
        fixture.store.change(ObjectKey("src/zzz")) { $0.restore = .restored(until: nil) }
        #expect(await transition(fixture, to: "Standard") == nil)
        #expect(classes(fixture) == ["Standard"])
    }

    @Test("an object that is replaced meanwhile is changed as it is then; one that is replaced for ever fails")
    func replaced() async throws {
        let fixture = try TreeFixture()
        let key = ObjectKey("src/file")
        fixture.store.put(key, [1])
        let copies = Counter()
        fixture.store.script { [store = fixture.store] call in
            guard case .copy = call, copies.add() != 3 else { return }
            store.put(key, [2])
        }
        #expect(try await fixture.trees.transition(key, to: cold)?.storageClass == cold)
        #expect(fixture.store.content(key) == [2])
        #expect(try await fixture.trees.transition(key, to: cold) == nil)
        fixture.store.put(key, [3])
        guard case .store(key, let error) = await transition(fixture, to: "ColdArchive") else {
            Issue.record("it did not fail")
            return
        }
        #expect(error.kind == .preconditionFailed)
    }

    @Test("cancelled, it stops; the same again goes on where it ended")
    func cancelled() async throws {
        let fixture = try TreeFixture()
        fixture.put(300)
        let gate = Gate()
        fixture.store.script { [fixture] call in
            if case .copy = call, fixture.copies.count > 100 { await gate.pass() }
        }
        let task = Task { await transition(fixture, to: "IA") }
        #expect(await eventually { gate.waiting > 0 })
        task.cancel()
        guard case .cancelled = await task.value else {
            Issue.record("not cancelled")
            return
        }
        #expect(classes(fixture) == ["Standard", "IA"] && fixture.isWhole(300, below: source))
        let before = fixture.copies.count
        fixture.store.script { _ in }
        #expect(await transition(fixture, to: "IA") == nil)
        #expect(fixture.isWhole(300, below: source) && fixture.copies.count < before + 300)
    }
}
