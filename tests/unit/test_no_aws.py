import pytest
from no_aws import FILES, VARIABLES, InventoryModule


@pytest.fixture
def nothing_set(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in FILES:
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def takes(path="inventory/aws_ec2.yml"):
    return InventoryModule.verify_file(InventoryModule.__new__(InventoryModule), path)


def test_where_aws_is_not_set_up_the_file_is_taken_and_no_one_is_asked(nothing_set):
    assert takes()


def test_other_inventories_are_left_to_others(nothing_set):
    assert not takes("inventory/local.yml")


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_of_aws_gives_the_file_to_the_real_plugin(nothing_set, monkeypatch, name):
    monkeypatch.setenv(name, "x")
    assert not takes()


def test_so_does_a_file_with_credentials(nothing_set):
    (nothing_set / "AWS_SHARED_CREDENTIALS_FILE").write_text("[default]\n")
    assert not takes()
