"""What Python's clients of Trove do: openstacksdk and python-troveclient, from Debian's packages.

Usage: clients.py PART, with the environment's ENDPOINT and TOKEN, and the part's arguments as JSON on standard input. What the part
returns goes to standard output as JSON.
"""

import json
import os
import sys

from keystoneauth1 import session
from keystoneauth1 import token_endpoint
import openstack
from openstack import exceptions
from troveclient.v1 import client as trove


def sdk():
    return openstack.connect(
        auth_type='admin_token', auth={'endpoint': os.environ['ENDPOINT'], 'token': os.environ['TOKEN']},
        region_name='RegionOne').database


def troveclient():
    plugin = token_endpoint.Token(os.environ['ENDPOINT'], os.environ['TOKEN'])
    return trove.Client(session=session.Session(auth=plugin), auth=plugin, region_name='RegionOne')


def look(instance, name):
    """Everything of openstacksdk that only reads."""
    db = sdk()
    flavor = next(db.flavors())
    return {
        'flavors': [f.name for f in db.flavors()],
        'flavor': db.get_flavor(flavor.id).name,
        'found_flavor': db.find_flavor(flavor.name).id == flavor.id,
        'instances': [i.id for i in db.instances()],
        'instances_one_by_one': [i.id for i in db.instances(limit=1)],
        'instance': db.get_instance(instance).name,
        'found_instance': db.find_instance(name).id == instance,
        'nobody': db.find_instance('nobody', ignore_missing=True) is None,
        'root': db.get_instance(instance).is_root_enabled(db),
    }


def change(instance):
    """Databases and users: makes two of each, deletes one."""
    db = sdk()
    for name in ('one', 'two'):
        db.create_database(instance, name=name)
        db.create_user(instance, name=name, password='s3cret', databases=[{'name': name}])
    db.delete_database('one', instance=instance, ignore_missing=False)
    db.delete_user('one', instance=instance, ignore_missing=False)
    return {
        'databases': [d.name for d in db.databases(instance)],
        'users': [u.name for u in db.users(instance)],
        'missing': refused(lambda: db.delete_user('nobody', instance=instance, ignore_missing=False)),
        'root': db.get_instance(instance).enable_root_user(db)['password'] != '',
        'root_is_enabled': db.get_instance(instance).is_root_enabled(db),
    }


def act(instance, action, argument):
    """An action on an instance: restart, resize or resize_volume."""
    db = sdk()
    getattr(db.get_instance(instance), action)(db, *([argument] if argument else []))


def delete(instance):
    db = sdk()
    db.delete_instance(instance, ignore_missing=False)


def gone(instance):
    db = sdk()
    return refused(lambda: db.get_instance(instance))


def refused(f):
    try:
        f()
    except exceptions.ResourceNotFound:
        return True
    return False


def pages(instance, limit):
    """The names of all databases and users, from page to page as both clients go. A page for each name, and one more."""
    found = {}
    db, cs = sdk(), troveclient()
    for what in ('databases', 'users'):
        names = found['openstacksdk ' + what] = []
        for item in getattr(db, what)(instance, limit=limit):
            names.append(item.name)
            if len(names) > 1000:
                break
        names = found['troveclient ' + what] = []
        marker = None
        while len(names) < 1000:
            page = getattr(cs, what).list(instance, limit=limit, marker=marker)
            names.extend(item.name for item in page)
            marker = page.next
            if not marker:
                break
    return found


if __name__ == '__main__':
    arguments = json.load(sys.stdin)
    json.dump({'result': globals()[sys.argv[1]](**arguments)}, sys.stdout)
