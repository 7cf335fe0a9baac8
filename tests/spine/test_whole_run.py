"""A small run from the command line to the branch, and the second one, which has nothing to do."""

import json

from tests.spine.project import Project, writes


def test_a_run_leaves_all_it_promises(project: Project) -> None:
    project.simple("alpha")
    project.feature("beta", "alpha")
    project.record("beta", writes("beta.txt", "beta done"))
    project.store()
    before = project.list.read_text("utf-8")
    (project.repo / "README.md").write_text("changed, not committed\n")
    (project.repo / "staged.txt").write_text("staged\n")
    project.git("add", "staged.txt")
    mine = project.git("status", "--porcelain"), project.git("rev-parse", "main")

    end = project.run()

    assert end.code == 0, end
    assert project.merged() == ["alpha", "beta"]
    assert project.file("beta.txt") == "beta done"
    # The user's own branch, files and index are as they were.
    assert (project.git("status", "--porcelain"), project.git("rev-parse", "main")) == mine
    # Only `passes` was written.
    after = project.list.read_text("utf-8")
    assert [f["passes"] for f in json.loads(after)["features"]] == [True, True]
    for feature in (given := json.loads(after))["features"]:
        del feature["passes"]
    assert given == json.loads(before)
    project.assert_nothing_left()
